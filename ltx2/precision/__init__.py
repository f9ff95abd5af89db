"""What happens to a weight between the file and the arithmetic. Modules are swapped from outside."""
