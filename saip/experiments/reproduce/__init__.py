"""The paper's tables and figures by command: their rows, commands, and what has been found."""
