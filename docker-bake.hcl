# Every image, once.

variable "REGISTRY" {
  # Prefix of the names, with its slash.
  default = ""
}

variable "VERSION" {
  default = "dev"
}

variable "BASE_IMAGE" {
  default = "debian:trixie-slim"
}

variable "CA_BUNDLE" {
  # A certificate bundle for installing behind a network that has an authority of its own.
  default = ""
}

function "tag" {
  params = [image]
  result = "${REGISTRY}fraudline/${image}:${VERSION}"
}

function "starts_from" {
  params = [image]
  result = { etl = "runtime", features = "arrays", train = "forest", score = "forest" }[image]
}

group "default" {
  targets = ["stage"]
}

# SageMaker and Lambda refuse image indexes: one platform, and no attestation inside.
target "_common" {
  platforms = ["linux/amd64"]
  attest    = ["type=provenance,disabled=true", "type=sbom,disabled=true"]
  secret    = CA_BUNDLE == "" ? [] : ["id=ca,src=${CA_BUNDLE}"]
  args      = { BASE_IMAGE = BASE_IMAGE, VERSION = VERSION }
}

# What the stage images start from and install with: targets of one Dockerfile, none of them published.
target "base" {
  name     = base
  inherits = ["_common"]
  matrix   = { base = ["runtime", "arrays", "forest", "install"] }
  context  = "containers/base"
  target   = base
  output   = ["type=cacheonly"]
}

target "stage" {
  name     = image
  inherits = ["_common"]
  matrix = {
    image = ["etl", "features", "train", "score"]
  }
  dockerfile = "containers/${image}/Dockerfile"
  contexts = {
    base    = "target:${starts_from(image)}"
    install = "target:install"
  }
  tags = [tag(image)]
}
