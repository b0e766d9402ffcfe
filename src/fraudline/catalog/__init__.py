"""The catalog: stages, workflows, features, settings and schemas as data, and the plan that resolves them."""
