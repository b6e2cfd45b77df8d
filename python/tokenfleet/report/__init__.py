"""What a person reads of a plan or a simulation, in the terminal."""
