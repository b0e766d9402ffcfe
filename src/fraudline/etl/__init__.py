"""The etl room: validate raw transactions and join them with the labels that are known."""
