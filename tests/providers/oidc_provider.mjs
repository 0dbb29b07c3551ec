// oidc-provider over TLS, as its documentation starts it. One argument: the file of its settings (see ../real_providers.py).
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const settings = JSON.parse(readFileSync(process.argv[2]));
const { default: Provider } = await import(`${settings.packages}/node_modules/oidc-provider/lib/index.js`);
const key = { ...createPrivateKey(readFileSync(settings.key)).export({ format: 'jwk' }), use: 'sig', kid: 'always the same' };

const provider = new Provider(settings.url, {
  clients: [
    {
      client_id: settings.client_id,
      client_secret: settings.client_secret,
      redirect_uris: [settings.redirect_uri],
      post_logout_redirect_uris: [settings.home],
      grant_types: ['authorization_code', 'refresh_token'],
      backchannel_logout_uri: settings.back_channel,
      backchannel_logout_session_required: true,
    },
  ],
  features: { backchannelLogout: { enabled: true } },
  // Its own one reaches no address of this machine, where the app is.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  claims: { openid: ['sub'], profile: ['name'] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: settings.people[id] }) }),
  jwks: { keys: [key] },
  cookies: { keys: ['for the tests'] },
});
provider.on('backchannel.error', (_, error) => console.error(error));
const tls = { key: readFileSync(settings.certificate), cert: readFileSync(settings.certificate) };
createServer(tls, provider.callback()).listen(settings.port, '127.0.0.1');
