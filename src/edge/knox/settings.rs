//! django-rest-knox's settings: its names in Rust's spelling, and its defaults.

use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use crate::{
    edge::{credential::Sources, layer::TokenAuthLayer, responder::Knox},
    usecase::{
        authenticator::Authenticator,
        config::{AuthenticatorBuilder, ConfigError},
        manager::NewKey,
        sliding::SlidingExpiry,
    },
    value::{format::TokenFormat, key::Record, owner::Owner, token::Token},
};

type Format = Arc<dyn Fn(DateTime<Utc>) -> String + Send + Sync>;
type Serializer = Arc<dyn Fn(&Owner) -> Value + Send + Sync>;

/// django-rest-knox's settings, each under its own name and with its own default: give it what the site's
/// `REST_KNOX` says.
///
/// knox's other settings are not open: a token has 64 random characters
/// (`AUTH_TOKEN_CHARACTER_LENGTH`), its hash is SHA-512 (`SECURE_HASH_ALGORITHM`), and the table is
/// [`KnoxOptions::token_table`]'s (`KNOX_TOKEN_MODEL`).
///
/// [`KnoxOptions::token_table`]: https://docs.rs/tower-token-auth/latest/tower_token_auth/struct.KnoxOptions.html#method.token_table
///
/// ```
/// use std::time::Duration;
/// use tower_token_auth::{Authenticator, MemoryStore, knox::KnoxSettings};
///
/// # fn main() -> Result<(), tower_token_auth::ConfigError> {
/// let settings = KnoxSettings::default()
///     .token_ttl(Duration::from_secs(3600))
///     .token_limit_per_user(5)
///     .auth_header_prefix("Bearer")?;
/// let (auth, _guard) = settings.apply_to(Authenticator::builder(MemoryStore::new())).build()?;
/// let layer = settings.layer(auth);
/// assert!(KnoxSettings::default().token_prefix("elevenchars").is_err());
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "pass it to `knox::routes`, or let it make a layer"]
pub struct KnoxSettings {
    token_ttl: Option<Duration>,
    token_limit_per_user: Option<u32>,
    token_prefix: Box<str>,
    /// Invariant: a scheme.
    auth_header_prefix: Box<str>,
    auto_refresh: bool,
    auto_refresh_max_ttl: Option<Duration>,
    min_refresh_interval: Duration,
    expiry_datetime_format: Format,
    user_serializer: Option<Serializer>,
}

impl Default for KnoxSettings {
    fn default() -> Self {
        Self {
            token_ttl: Some(Duration::from_secs(10 * 60 * 60)),
            token_limit_per_user: None,
            token_prefix: Box::default(),
            auth_header_prefix: "Token".into(),
            auto_refresh: false,
            auto_refresh_max_ttl: None,
            min_refresh_interval: Duration::from_secs(60),
            expiry_datetime_format: Arc::new(iso_8601),
            user_serializer: None,
        }
    }
}

impl KnoxSettings {
    /// `TOKEN_TTL`: how long after a login its token expires; 10 h by default. `None` never.
    pub fn token_ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        // knox takes zero as well: a token that is good for nothing.
        self.token_ttl = ttl.into().map(|ttl| ttl.max(Duration::from_micros(1)));
        self
    }

    /// `TOKEN_LIMIT_PER_USER`: how many tokens that have not expired a user may have; a login beyond is
    /// refused with 403, and 0 refuses every one. `None`, the default, sets no limit. As in knox, logins
    /// at the same moment can pass it together.
    pub fn token_limit_per_user(mut self, limit: impl Into<Option<u32>>) -> Self {
        self.token_limit_per_user = limit.into();
        self
    }

    /// `TOKEN_PREFIX`: what a token begins with; empty by default, and then the authenticator's own
    /// format says.
    ///
    /// # Errors
    /// When it is longer than 10 characters, or holds anything but visible ASCII.
    pub fn token_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        TokenFormat::knox(prefix).map_err(|error| ConfigError::new(error.to_string()))?;
        self.token_prefix = prefix.into();
        Ok(self)
    }

    /// `AUTH_HEADER_PREFIX`: the scheme of `Authorization`; `Token` by default.
    ///
    /// # Errors
    /// When it is empty or not one word.
    pub fn auth_header_prefix(mut self, scheme: &str) -> Result<Self, ConfigError> {
        Sources::default().add_scheme(scheme)?;
        self.auth_header_prefix = scheme.into();
        Ok(self)
    }

    /// `AUTO_REFRESH`: whether a token that is used expires [`token_ttl`](Self::token_ttl) after that;
    /// off by default. It is the authenticator's to do: see [`apply_to`](Self::apply_to).
    pub fn auto_refresh(mut self, is_on: bool) -> Self {
        self.auto_refresh = is_on;
        self
    }

    /// `AUTO_REFRESH_MAX_TTL`: how long after a login its token can be refreshed to at most. `None`, the
    /// default, sets no end.
    pub fn auto_refresh_max_ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.auto_refresh_max_ttl = ttl.into();
        self
    }

    /// `MIN_REFRESH_INTERVAL`: by more than how much a refresh has to move the expiry on; 60 s by
    /// default.
    pub fn min_refresh_interval(mut self, interval: Duration) -> Self {
        self.min_refresh_interval = interval;
        self
    }

    /// `EXPIRY_DATETIME_FORMAT`: how a login tells the expiry. By default as Django REST framework does
    /// on a site in UTC, such as `2030-01-01T22:00:00Z`, with six digits of a fraction unless it is zero.
    /// A site with a `TIME_ZONE` of its own tells its offset: convert the time in a function of yours.
    pub fn expiry_datetime_format(
        mut self,
        format: impl Fn(DateTime<Utc>) -> String + Send + Sync + 'static,
    ) -> Self {
        self.expiry_datetime_format = Arc::new(format);
        self
    }

    /// `USER_SERIALIZER`: what a login tells of the user, as `user`; by default nothing. The members of
    /// an object come in the order of [`Value`]: sorted, unless the service turns serde_json's
    /// `preserve_order` on.
    pub fn user_serializer(
        mut self,
        serializer: impl Fn(&Owner) -> Value + Send + Sync + 'static,
    ) -> Self {
        self.user_serializer = Some(Arc::new(serializer));
        self
    }

    /// Sets an authenticator up by those of the settings that are its own: the tokens that it issues
    /// have knox's format and the [prefix](Self::token_prefix), and expiries move on with use by
    /// [`auto_refresh`](Self::auto_refresh).
    pub fn apply_to(&self, builder: AuthenticatorBuilder) -> AuthenticatorBuilder {
        let format = TokenFormat::knox(&self.token_prefix);
        let builder = builder.token_format(format.expect("the prefix was checked when it was set"));
        // By an interval that no gain can pass knox never refreshes, and neither does it without a TTL.
        let is_on = |ttl: &Duration| self.auto_refresh && self.min_refresh_interval < *ttl;
        let Some(ttl) = self.token_ttl.filter(is_on) else { return builder };
        builder.sliding_expiry(
            SlidingExpiry::of(ttl)
                .max_lifetime(self.auto_refresh_max_ttl)
                .min_gain(self.min_refresh_interval),
        )
    }

    /// The layer that stands where knox's `TokenAuthentication` stands: its scheme, and its answers.
    pub fn layer(&self, auth: Authenticator) -> TokenAuthLayer {
        let layer = TokenAuthLayer::new(auth).schemes([&*self.auth_header_prefix]);
        layer.expect("the scheme was checked when it was set").responder(Knox)
    }

    /// What a login makes: a key with the [expiry](Self::token_ttl) and the
    /// [prefix](Self::token_prefix) of these settings.
    pub fn new_key(&self) -> NewKey {
        let key = NewKey::default();
        let key = match self.token_ttl {
            Some(ttl) => key.expires_in(ttl),
            None => key,
        };
        if self.token_prefix.is_empty() { key } else { key.token_prefix(&*self.token_prefix) }
    }

    /// What knox's login answers with, as JSON: for views of one's own, where axum's are not to be had.
    #[must_use]
    pub fn login_body(&self, key: &Record, token: &Token) -> String {
        // Written by hand, to keep the members in knox's order.
        let told = |at| Value::from((self.expiry_datetime_format)(at));
        let expiry = key.key().expires_at().map_or(Value::Null, told);
        let token = Value::from(token.expose());
        let Some(serializer) = &self.user_serializer else {
            return format!(r#"{{"expiry":{expiry},"token":{token}}}"#);
        };
        // As the framework has them, for the sake of JavaScript's older readers.
        let user = serializer(key.owner()).to_string();
        let user = user.replace('\u{2028}', r"\u2028").replace('\u{2029}', r"\u2029");
        format!(r#"{{"expiry":{expiry},"token":{token},"user":{user}}}"#)
    }

    /// How many tokens a user may have.
    #[cfg(feature = "axum")]
    pub(in crate::edge) fn limit(&self) -> Option<u32> {
        self.token_limit_per_user
    }
}

impl fmt::Debug for KnoxSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnoxSettings")
            .field("token_ttl", &self.token_ttl)
            .field("token_limit_per_user", &self.token_limit_per_user)
            .field("token_prefix", &self.token_prefix)
            .field("auth_header_prefix", &self.auth_header_prefix)
            .field("auto_refresh", &self.auto_refresh)
            .field("auto_refresh_max_ttl", &self.auto_refresh_max_ttl)
            .field("min_refresh_interval", &self.min_refresh_interval)
            .field("tells_user", &self.user_serializer.is_some())
            .finish_non_exhaustive()
    }
}

/// Django REST framework's own form of a time.
fn iso_8601(at: DateTime<Utc>) -> String {
    let is_whole = at.timestamp_subsec_micros() == 0;
    let fraction = if is_whole { SecondsFormat::Secs } else { SecondsFormat::Micros };
    at.to_rfc3339_opts(fraction, true)
}
