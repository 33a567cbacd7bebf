"""What must hold of every tensor before a kernel reads and writes at its address."""
