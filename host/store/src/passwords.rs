//! Passwords that are good for minutes, such as RDS's tokens. The server asks for one when a connection opens; connections that
//! are open stay.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgSslMode};

/// After a password that could not be made.
const RETRY: Duration = Duration::from_secs(10);

/// Makes a password, or says why not.
type Make = Arc<dyn Fn(Login<'_>) -> Result<String, String> + Send + Sync>;

/// Makes passwords for new connections.
#[derive(Clone)]
pub struct Passwords {
    make: Make,
    every: Duration,
}

/// Whose password, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login<'a> {
    /// The server, as the URL names it.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// The user.
    pub user: &'a str,
}

impl Passwords {
    /// `make` is asked at the start and again after each `every`, which is to be less than a password lasts.
    pub fn new(
        every: Duration,
        make: impl Fn(Login<'_>) -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            make: Arc::new(make),
            every,
        }
    }

    /// The options with a new password. It crosses the network as it is, so that there must be TLS.
    pub(crate) fn put(&self, options: PgConnectOptions) -> Result<PgConnectOptions, String> {
        let options = match options.get_ssl_mode() {
            // The default, which would go on without TLS.
            PgSslMode::Prefer => options.ssl_mode(PgSslMode::Require),
            PgSslMode::Disable | PgSslMode::Allow => {
                return Err(
                    "the password is sent as it is, so sslmode must be require, verify-ca or verify-full"
                        .to_owned(),
                );
            }
            _ => options,
        };
        let password = (self.make)(Login {
            host: options.get_host(),
            port: options.get_port(),
            user: options.get_username(),
        })?;
        Ok(options.password(&password))
    }

    pub(crate) async fn keep_fresh(self, pool: PgPool) {
        let mut pause = self.every;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.put(PgConnectOptions::clone(&pool.connect_options())) {
                Ok(options) => {
                    pool.set_connect_options(options);
                    self.every
                }
                Err(error) => {
                    tracing::error!("no new password for the database: {error}");
                    RETRY
                }
            };
        }
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords")
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use sqlx::ConnectOptions;
    use sqlx::postgres::PgPoolOptions;

    use super::*;

    fn counting() -> Passwords {
        let made = AtomicU32::new(0);
        Passwords::new(Duration::from_secs(720), move |login| {
            assert_eq!((login.host, login.port, login.user), ("h", 5433, "u"));
            match made.fetch_add(1, Ordering::Relaxed) {
                2 => Err("not now".to_owned()),
                count => Ok(format!("password{count}")),
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn new_connections_get_new_passwords_before_the_old_are_too_old() {
        let passwords = counting();
        let options = "postgresql://u:of-the-url@h:5433/db".parse().unwrap();
        let pool = PgPoolOptions::new().connect_lazy_with(passwords.put(options).unwrap());
        let shown = |pool: &PgPool| pool.connect_options().to_url_lossy().to_string();
        assert!(shown(&pool).contains("u:password0@h"), "{}", shown(&pool));
        assert!(shown(&pool).contains("require"), "{}", shown(&pool));
        let keeping = tokio::spawn(passwords.keep_fresh(pool.clone()));
        for (at_s, password) in [(719, 0), (2, 1), (720, 1), (11, 3)] {
            tokio::time::sleep(Duration::from_secs(at_s)).await;
            let password = format!("password{password}");
            assert!(shown(&pool).contains(&password), "{password} {at_s}");
        }
        keeping.abort();
    }

    #[test]
    fn passwords_need_tls() {
        for mode in ["disable", "allow"] {
            let url = format!("postgresql://u@h:5433/db?sslmode={mode}");
            let refused = counting().put(url.parse().unwrap()).unwrap_err();
            assert!(refused.contains("sslmode"), "{refused}");
        }
    }
}
