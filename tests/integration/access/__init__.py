"""Access: who sees what, tried against a server that asks for passwords."""
