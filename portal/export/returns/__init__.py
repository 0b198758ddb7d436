"""The queue of results on their way to destinations: what each is made of, and how it is sent, tried again, settled."""
