"""The subscription: changes of the tables as they come, with a cursor to go on from."""
