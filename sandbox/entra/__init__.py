"""The embedded Microsoft Entra tenant: what it knows, the tokens it issues, its endpoints and its pages."""
