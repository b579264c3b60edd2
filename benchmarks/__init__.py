"""Speed and memory, each against what a user would pick instead; every script prints a table and writes CSV."""
