"""The etl room: raw transactions and labels in, validated transactions out."""
