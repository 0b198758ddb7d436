"""HL7 v2 messages over MLLP: who may send, what is answered, the listener."""
