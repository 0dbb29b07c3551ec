"""Sign-in: the authorization code flow with PKCE, and the tokens that come of it.

RFC 6749 and RFC 7636, as OpenID Connect Core 1.0 and RFC 9700 (best current practice for OAuth 2.0 security) want them.
`auth` has the routes and `login_required`; `pending` a sign-in that has begun; `tokens` what MSAL does; `transport` what MSAL
asks of its HTTP client; `tenant` what the authority publishes; `id_token` the validation. Nothing here knows Graph or pages.
"""
