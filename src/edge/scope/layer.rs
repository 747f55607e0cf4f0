//! The layer, and how it is set up.

use std::sync::Arc;

use tower_layer::Layer;

use super::{
    requirement::{Enough, Requirement},
    service::RequireScope,
};
use crate::{
    edge::{
        layer::TokenAuthLayer,
        responder::{GrpcMode, Responder},
    },
    usecase::config::ConfigError,
};

/// Lets only keys pass that have certain scopes; stands inside a [`TokenAuthLayer`].
///
/// # Rules
/// 1. [`all`](Self::all) asks for every scope that is named, [`any`](Self::any) for at least one.
///    Scopes are compared byte for byte; none stands for others, and no owner is exempt.
/// 2. A key without them is refused: 403, or gRPC 7. The [`Rejection`](crate::Rejection), of kind
///    [`OutOfScope`](crate::RejectionKind::OutOfScope), says which scope is missing, and stands in
///    the response's extensions.
/// 3. A [`Visitor`](crate::Visitor) has no key, hence no scope: it gets the 401 of the layer that
///    let it pass, or gRPC 16.
/// 4. A request with neither never met a `TokenAuthLayer`: 500, or gRPC 13, and what to add.
/// 5. No refused request reaches the inner service or holds its capacity. An admitted one is passed
///    on unchanged.
///
/// # Order of layers
/// Inside of the `TokenAuthLayer`: on a `ServiceBuilder` after it, on a `Router` before it, as that
/// runs the last one added first. `Router::route_layer` leaves unknown paths at 404; behind
/// `Router::layer` they answer 403 as well.
///
/// # Caveat
/// A request is judged when it begins, by the key as the outer layer found it. A preflight that
/// passed through a bypass is a visitor: put the `CorsLayer` outside of both layers.
///
/// # Example
/// ```
/// # use bytes::Bytes;
/// # use http_body_util::Full;
/// use http::{Request, Response, StatusCode};
/// use tower::{Layer as _, ServiceExt as _, service_fn};
/// use tower_token_auth::{
///     Authenticator, MemoryStore, NewKey, Owner, RequireScopeLayer, TokenAuthLayer,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (auth, _guard) = Authenticator::builder(MemoryStore::new()).build()?;
/// let reader = NewKey::named("reader").scopes(["read"]);
/// let (_, token) = auth.keys().create(Owner::staff("ada"), reader).await?;
///
/// let auth = TokenAuthLayer::new(auth).schemes(["Bearer"])?;
/// let to_read = RequireScopeLayer::any(["read", "admin"])?.answering_as(&auth);
/// let to_write = RequireScopeLayer::all(["read", "write"])?.answering_as(&auth);
///
/// let hello = service_fn(async |_: Request<()>| {
///     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
/// });
/// let header = format!("Bearer {}", token.expose());
/// let request = || Request::get("/").header("authorization", &header).body(());
///
/// let admitted = auth.layer(to_read.layer(hello)).oneshot(request()?).await?;
/// assert_eq!(admitted.status(), StatusCode::OK);
///
/// let refused = auth.layer(to_write.layer(hello)).oneshot(request()?).await?;
/// assert_eq!(refused.status(), StatusCode::FORBIDDEN);
/// assert_eq!(
///     refused.headers()["www-authenticate"],
///     r#"Bearer error="insufficient_scope", scope="read write""#,
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RequireScopeLayer {
    requirement: Arc<Requirement>,
}

impl RequireScopeLayer {
    /// A layer that lets a key pass if it has every one of these scopes.
    ///
    /// Refusals are problem details (RFC 9457), or gRPC statuses where the request is gRPC, as a
    /// `TokenAuthLayer`'s are by default.
    ///
    /// # Errors
    /// When there is no scope, or one is empty or holds blanks or control characters.
    pub fn all<S: Into<Box<str>>>(
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        Ok(Self { requirement: Arc::new(Requirement::new(Enough::All, scopes)?) })
    }

    /// A layer that lets a key pass if it has one of these scopes at least.
    ///
    /// # Errors
    /// As for [`all`](Self::all).
    pub fn any<S: Into<Box<str>>>(
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        Ok(Self { requirement: Arc::new(Requirement::new(Enough::Any, scopes)?) })
    }

    /// Answers refusals as `layer` does, as that is set up now: with its responder, gRPC mode and
    /// schemes. It replaces whatever was set before. Its authenticator's listener to
    /// [events](crate::Events), log and metrics are told of those refusals too.
    ///
    /// A layer can't learn this from the requests that an outer one admits, as these carry the key
    /// and nothing else.
    pub fn answering_as(mut self, layer: &TokenAuthLayer) -> Self {
        let requirement = Arc::make_mut(&mut self.requirement);
        requirement.answers = layer.answers().clone();
        requirement.auth = Some(layer.auth().clone());
        self
    }

    /// Answers refusals for a missing scope with this responder, to gRPC requests too unless
    /// [`grpc`](Self::grpc) says otherwise. See [`responder`](crate::responder).
    pub fn responder(mut self, responder: impl Responder) -> Self {
        Arc::make_mut(&mut self.requirement).answers.responder = Some(Arc::new(responder));
        self
    }

    /// Sets which requests are answered as gRPC. By default [`GrpcMode::Auto`], and
    /// [`GrpcMode::Never`] once a [`responder`](Self::responder) is set.
    pub fn grpc(mut self, mode: GrpcMode) -> Self {
        Arc::make_mut(&mut self.requirement).answers.grpc = Some(mode);
        self
    }
}

impl<S> Layer<S> for RequireScopeLayer {
    type Service = RequireScope<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireScope::new(inner, Arc::clone(&self.requirement))
    }
}
