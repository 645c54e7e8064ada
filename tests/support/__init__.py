"""What tests share: fakes of the world around us, never of our own code."""
