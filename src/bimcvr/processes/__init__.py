"""How processes end: by a signal, and with the process that started them; where workers have their sockets."""
