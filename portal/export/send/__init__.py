"""Ways to a destination: each takes what is sent and returns the peer's acknowledgement in words.

Each raises NotAnswered: the peer is away, refuses, or did not say that it has everything. C-STORE is that of
`portal.peers`.
"""
