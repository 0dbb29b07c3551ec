"""The embedded Microsoft Entra tenant: its people and tokens, its endpoints and its pages."""
