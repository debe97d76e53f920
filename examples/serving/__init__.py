"""The exported pose model in a server: its requests, clients, warm-up, and a test under load."""
