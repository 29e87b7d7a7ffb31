"""The folder that a bank lies in: what its files may say, how they are opened, verified, and replaced."""
