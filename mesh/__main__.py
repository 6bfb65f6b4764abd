"""`mesh …` and `python -m mesh …`: hands over to the commands."""

from tools.cli import main

if __name__ == "__main__":
    main()
