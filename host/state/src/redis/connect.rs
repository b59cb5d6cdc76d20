//! Making a connection: to one server, to a cluster, to the master that sentinels name.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::RoutingInfo;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError, RedisFuture, RedisResult,
    TlsCertificates, TlsMode, Value,
};

use super::CONNECT;
use crate::settings::{Place, RedisSettings, Tls};

/// Makes connections.
pub(super) enum Connector {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
    Sentinel(Box<SentinelClient>),
}

/// A connection; clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connector {
    /// Checks what can be checked without a connection.
    pub(super) fn new(settings: &RedisSettings) -> RedisResult<Connector> {
        let tls = settings.tls.as_ref();
        let certificates = tls.map(certificates);
        let address = |(host, port): &(String, u16)| address(host, *port, tls);
        Ok(match &settings.place {
            Place::Single { host, port } => {
                let info = information(settings, address(&(host.clone(), *port)))?;
                Connector::Single(Box::new(match certificates {
                    Some(certificates) => Client::build_with_tls(info, certificates)?,
                    None => Client::open(info)?,
                }))
            }
            Place::Socket(path) => {
                let address = ConnectionAddr::Unix(path.into());
                Connector::Single(Box::new(Client::open(information(settings, address)?)?))
            }
            Place::Cluster(nodes) => {
                let infos = nodes
                    .iter()
                    .map(|node| information(settings, address(node)));
                let infos = infos.collect::<RedisResult<Vec<ConnectionInfo>>>()?;
                let mut builder = ClusterClient::builder(infos)
                    .connection_timeout(CONNECT)
                    .response_timeout(settings.socket_timeout);
                if let Some(username) = &settings.username {
                    builder = builder.username(username);
                }
                if let Some(password) = &settings.password {
                    builder = builder.password(password.reveal());
                }
                if let Some(tls) = tls {
                    builder = builder.tls(mode(tls));
                }
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates);
                }
                Connector::Cluster(Box::new(builder.build()?))
            }
            Place::Sentinel {
                nodes,
                service,
                username,
                password,
            } => {
                let sentinels: Vec<ConnectionAddr> = nodes.iter().map(address).collect();
                let master = SentinelServerType::Master;
                let mut builder = SentinelClientBuilder::new(sentinels, service, master)?
                    .set_client_to_redis_db(i64::from(settings.db));
                if let Some(username) = &settings.username {
                    builder = builder.set_client_to_redis_username(username);
                }
                if let Some(password) = &settings.password {
                    builder = builder.set_client_to_redis_password(password.reveal());
                }
                if let Some(username) = username {
                    builder = builder.set_client_to_sentinel_username(username);
                }
                if let Some(password) = password {
                    builder = builder.set_client_to_sentinel_password(password.reveal());
                }
                if let (Some(tls), Some(certificates)) = (tls, certificates) {
                    builder = builder
                        .set_client_to_redis_tls_mode(mode(tls))
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_tls_mode(mode(tls))
                        .set_client_to_sentinel_certificates(certificates);
                }
                Connector::Sentinel(Box::new(builder.build()?))
            }
        })
    }

    /// A connection that has answered.
    pub(super) async fn connect(&mut self) -> RedisResult<Connection> {
        // The time of an answer is bounded by who asks.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        let client = match self {
            // Connecting reads the cluster's slots from one of its nodes.
            Connector::Cluster(client) => {
                return Ok(Connection::Cluster(client.get_async_connection().await?));
            }
            Connector::Single(client) => (**client).clone(),
            Connector::Sentinel(client) => client.async_get_client().await?,
        };
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let () = redis::cmd("PING").query_async(&mut connection).await?;
        Ok(Connection::Single(connection))
    }
}

fn address(host: &str, port: u16, tls: Option<&Tls>) -> ConnectionAddr {
    match tls {
        None => ConnectionAddr::Tcp(host.to_owned(), port),
        Some(tls) => ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: tls.unverified,
            tls_params: None,
        },
    }
}

fn mode(tls: &Tls) -> TlsMode {
    match tls.unverified {
        true => TlsMode::Insecure,
        false => TlsMode::Secure,
    }
}

fn information(settings: &RedisSettings, address: ConnectionAddr) -> RedisResult<ConnectionInfo> {
    let mut redis = RedisConnectionInfo::default().set_db(i64::from(settings.db));
    if let Some(username) = &settings.username {
        redis = redis.set_username(username);
    }
    if let Some(password) = &settings.password {
        redis = redis.set_password(password.reveal());
    }
    Ok(address.into_connection_info()?.set_redis_settings(redis))
}

fn certificates(tls: &Tls) -> TlsCertificates {
    TlsCertificates {
        client_tls: tls.identity.as_ref().map(|(cert, key)| ClientTlsConfig {
            client_cert: cert.clone(),
            client_key: key.reveal().as_bytes().to_vec(),
        }),
        root_cert: tls.roots.clone(),
    }
}

impl Connection {
    /// A command to certain nodes of a cluster.
    pub(super) async fn route(self, command: &Cmd, routing: RoutingInfo) -> RedisResult<Value> {
        match self {
            Connection::Cluster(mut cluster) => {
                cluster.route_command(command.clone(), routing).await
            }
            Connection::Single(_) => Err(RedisError::from((
                ErrorKind::Client,
                "one server has no nodes to choose from",
            ))),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Connection::Cluster(_))
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Connection::Single(connection) => connection.req_packed_command(cmd),
            Connection::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Connection::Single(connection) => {
                connection.req_packed_commands(pipeline, offset, count)
            }
            Connection::Cluster(connection) => {
                connection.req_packed_commands(pipeline, offset, count)
            }
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::Single(connection) => connection.get_db(),
            Connection::Cluster(connection) => connection.get_db(),
        }
    }
}
