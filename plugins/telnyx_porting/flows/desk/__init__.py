"""The desk, over all rooms: what an operator or a porting team looks at, and the nightly maintenance."""
