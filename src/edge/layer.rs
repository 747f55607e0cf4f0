//! The layer, and how it is set up.

use std::{fmt, sync::Arc};

use http::request::Parts;
use tower_layer::Layer;

use super::{
    answers::Answers,
    responder::{GrpcMode, Responder},
    service::TokenAuth,
    settings::Settings,
};
use crate::usecase::{authenticator::Authenticator, config::ConfigError};

/// Admits requests by their API key.
///
/// # Rules
/// 1. A request passes only with exactly one credential that the [`Authenticator`] admits. Whatever
///    is ambiguous or unreadable is refused, and a store in trouble answers 503, never 401.
/// 2. An admitted request carries the [`AuthenticatedKey`](crate::AuthenticatedKey) in its
///    extensions; one that passed without a key carries a [`Visitor`](crate::Visitor). An earlier
///    layer's are removed first.
/// 3. The credential's header is marked sensitive before anything else sees the request.
/// 4. A key that the cache knows is admitted at once: the very service that was polled ready is
///    called. Otherwise readiness is given up before the store is asked, so that no refused request
///    holds capacity of the inner service.
/// 5. With feature `tracing`, the key's id is recorded on the current span, if that span declares a
///    field `key_id`.
///
/// # Order of layers
/// Put it inside whatever must see refusals too (tracing, CORS, compression), and outside whatever
/// costs something (timeouts of handlers, concurrency limits, body limits). A `TraceLayer` outside
/// may log headers before this layer marks them: put tower-http's `SetSensitiveRequestHeadersLayer`
/// outside of it. `Router::layer` runs its layers from the last one added to the first,
/// `ServiceBuilder` from the first to the last. `Router::layer` covers the routes added before it,
/// and unknown paths: call it after the last `.route(…)`, or what follows is open to everybody.
///
/// # Example
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use tower::{Layer as _, ServiceExt as _, service_fn};
/// use tower_token_auth::{
///     ApiKey, AuthenticatedKey, Authenticator, KeyId, MemoryStore, Owner, TokenAuthLayer,
///     TokenDigest, store::{KeyRepository as _, KeyStore as _},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let digest = TokenDigest::of(store.digest_algorithm(), "opensesame");
/// let key = ApiKey::new(KeyId::random(), digest, "ada".into(), std::time::SystemTime::now().into());
/// store.insert(key.with_name("first"), Owner::staff("ada"), None, &mut |_, _| true).await?;
/// let (auth, _guard) = Authenticator::builder(store).build()?;
///
/// let service = TokenAuthLayer::new(auth).layer(service_fn(async |request: Request<()>| {
///     let key = request.extensions().get::<AuthenticatedKey>().expect("the layer admitted it");
///     Ok::<_, std::convert::Infallible>(Response::new(key.name().to_owned()))
/// }));
///
/// let request = Request::get("/").header("authorization", "Token opensesame").body(())?;
/// let admitted = service.clone().oneshot(request).await?;
/// assert_eq!(admitted.into_body().into_inner_or(|_| String::new()), "first");
///
/// let request = Request::get("/").header("authorization", "Token guessed").body(())?;
/// let refused = service.oneshot(request).await?;
/// assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
/// assert_eq!(refused.headers()["www-authenticate"], "Token");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct TokenAuthLayer {
    settings: Arc<Settings>,
}

impl TokenAuthLayer {
    /// A layer in required mode: `Authorization: Token <key>`, and nothing passes without it.
    /// Refusals are problem details (RFC 9457), or gRPC statuses where the request is gRPC.
    pub fn new(auth: Authenticator) -> Self {
        Self { settings: Arc::new(Settings::new(auth)) }
    }

    /// Lets requests without a credential pass as anonymous. A bad credential is still refused, and
    /// a store in trouble still answers 503. A credential is absent when no configured header
    /// carries a configured scheme.
    pub fn optional(self) -> Self {
        self.with(|settings| settings.optional = true)
    }

    /// Asks the store on every admission, whatever the cache holds: for routes where a revocation
    /// made elsewhere must count at once. What the cache knows to be no key is refused without.
    pub fn authoritative(self) -> Self {
        self.with(|settings| settings.authoritative = true)
    }

    /// Lets requests pass unasked whose head the predicate accepts, whatever credential they carry.
    /// Ready-made ones are in [`bypass`](crate::bypass). Called again, it adds another predicate.
    ///
    /// Insecure, as whoever can shape a request can aim for the predicate: judge by what a client
    /// can't choose freely, or let pass only what is public anyway.
    pub fn insecure_bypass(
        self,
        predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.bypasses.push(Arc::new(predicate)))
    }

    /// Accepts one more scheme of `Authorization`, beside `Token` and those named before.
    ///
    /// # Errors
    /// When the scheme is empty or not one word.
    pub fn scheme(self, scheme: &str) -> Result<Self, ConfigError> {
        self.try_with(|settings| settings.answers.sources.add_scheme(scheme))
    }

    /// Accepts these schemes of `Authorization` and no other; challenges name them in this order.
    ///
    /// # Errors
    /// When there is none, or one is empty or not one word.
    pub fn schemes<'a>(
        self,
        schemes: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        self.try_with(|settings| {
            let sources = &mut settings.answers.sources;
            sources.clear_schemes();
            schemes.into_iter().try_for_each(|scheme| sources.add_scheme(scheme))?;
            if sources.schemes().is_empty() {
                return Err(ConfigError::new(
                    "no scheme: name at least one, or use `only_header` for a key header alone",
                ));
            }
            Ok(())
        })
    }

    /// Accepts the token in a header of its own as well, such as `x-api-key`: the whole value, but
    /// for blanks around it.
    ///
    /// # Errors
    /// When the name is no header name, or is `authorization`.
    pub fn header(self, name: &str) -> Result<Self, ConfigError> {
        self.try_with(|settings| settings.answers.sources.add_header(name))
    }

    /// Accepts the token in this header alone: `Authorization` is none of this layer's business.
    ///
    /// # Errors
    /// As for [`header`](Self::header).
    pub fn only_header(self, name: &str) -> Result<Self, ConfigError> {
        self.try_with(|settings| {
            settings.answers.sources.clear();
            settings.answers.sources.add_header(name)
        })
    }

    /// Takes the credential's field out of admitted requests, so that a service further in can't
    /// pass it on. By default it stays and is marked sensitive. A bypassed request's field, and a
    /// foreign scheme's, are never touched. A layer of this crate further in still knows the
    /// credential, if it reads the same source and its store uses the same digest algorithm.
    pub fn strip_credential(self) -> Self {
        self.with(|settings| settings.strip = true)
    }

    /// Answers refusals with this responder, to gRPC requests too unless [`grpc`](Self::grpc) says
    /// otherwise. See [`responder`](crate::responder).
    pub fn responder(self, responder: impl Responder) -> Self {
        self.with(|settings| settings.answers.responder = Some(Arc::new(responder)))
    }

    /// Sets which requests are answered as gRPC. By default [`GrpcMode::Auto`], and
    /// [`GrpcMode::Never`] once a [`responder`](Self::responder) is set.
    pub fn grpc(self, mode: GrpcMode) -> Self {
        self.with(|settings| settings.answers.grpc = Some(mode))
    }

    /// Refuses unknown, expired and deactivated keys, and those of inactive owners, with the same
    /// words, so that a client can't tell them apart. The [`Rejection`](crate::Rejection) in the
    /// response's extensions, for logs, still does.
    pub fn uniform_rejections(self) -> Self {
        self.with(|settings| settings.answers.uniform = true)
    }

    /// How this layer answers refusals, for layers that are to answer alike.
    pub(super) fn answers(&self) -> &Answers {
        &self.settings.answers
    }

    /// Who decides, for layers whose refusals are to be told by the same.
    pub(super) fn auth(&self) -> &Authenticator {
        &self.settings.auth
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }

    fn try_with(
        mut self,
        set: impl FnOnce(&mut Settings) -> Result<(), ConfigError>,
    ) -> Result<Self, ConfigError> {
        set(Arc::make_mut(&mut self.settings))?;
        Ok(self)
    }
}

impl<S> Layer<S> for TokenAuthLayer {
    type Service = TokenAuth<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TokenAuth::new(inner, Arc::clone(&self.settings))
    }
}

impl fmt::Debug for TokenAuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAuthLayer").field("settings", &self.settings).finish()
    }
}
