"""`resmon up` with the toy code location instead of Resmon's own; the arguments are its own."""

from resmon_cli import main, up

if __name__ == "__main__":
    up.DEFINITIONS_MODULE = "toy_definitions"
    main.main()
