"""Sign-in: the authorization code flow with PKCE, and the tokens that come of it.

RFC 6749 and RFC 7636, as OpenID Connect Core 1.0 and RFC 9700 (best current practice for OAuth 2.0 security) want them.
`auth` has the routes and `login_required`; `pending` a sign-in that has begun; `tokens` who has which; `client` what MSAL does,
and `transport` what it asks of its HTTP client; `tenant` what the authority publishes, `provider` what it can do by that,
`issuer` whose document it is; `id_token` the validation; `userinfo` the claims that are told there. Nothing here knows Graph or
pages.
"""
