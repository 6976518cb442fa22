"""What the tests share: a running server, odd requests, and data to store."""
