// A certified OpenID provider (oidc-provider), with a client that gets tokens for itself.
//
// What a token is like is said by the resource it is asked for: https://gateway.example/?alg=ES512&claims={…}&format=opaque.
// Says on its first line what it is, and reads commands: `rotate` replaces every key.

import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { exportJWK, generateKeyPair } from 'jose'
import Provider from 'oidc-provider'

// Standard output is for answers.
console.info = console.warn = console.error

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
const CLIENT = { client_id: 'machine', client_secret: 'machine-secret-4711' }
const AUDIENCE = 'https://gateway.example'

let generation = 0

async function keys() {
  generation += 1
  const made = ALGORITHMS.map(async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true, crv: 'Ed25519' })
    return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${generation}` }
  })
  return { keys: await Promise.all(made) }
}

function asked(resource) {
  const query = new URL(resource).searchParams
  return {
    alg: query.get('alg') ?? 'RS256',
    format: query.get('format') ?? 'jwt',
    audience: query.get('audience') ?? AUDIENCE,
    scope: query.get('scope') ?? '',
    claims: JSON.parse(query.get('claims') ?? '{}'),
  }
}

async function provider(issuer) {
  return new Provider(issuer, {
    jwks: await keys(),
    clients: [{ ...CLIENT, grant_types: ['client_credentials'], response_types: [], redirect_uris: [] }],
    scopes: ['openid', 'litellm_proxy_admin'],
    enabledJWA: { idTokenSigningAlgValues: ALGORITHMS },
    extraTokenClaims: (_, token) => asked(token.aud === AUDIENCE ? token.resourceServer.identifier() : AUDIENCE).claims,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => {
          const { alg, format, audience, scope } = asked(resource)
          return {
            audience,
            scope,
            accessTokenFormat: format,
            accessTokenTTL: 600,
            jwt: { sign: { alg, kid: `${alg}-${generation}` } },
          }
        },
      },
    },
  })
}

let handle
const server = createServer((request, response) => handle(request, response))
server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  handle = (await provider(issuer)).callback()
  console.log(JSON.stringify({ issuer, audience: AUDIENCE, algorithms: ALGORITHMS, ...CLIENT }))
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'rotate') handle = (await provider(issuer)).callback()
    console.log('{}')
  }
  process.exit(0)
})
