"""What the app's templates show: a profile (`profiles`, with its JSON in `json_lines`), and an account (`accounts`)."""
