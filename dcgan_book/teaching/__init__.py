"""What a class and a sceptic need: exercises and slides, the ledger of claims, stored results."""
