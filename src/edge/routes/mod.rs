//! django-rest-knox's views: `login/`, `logout/` and `logoutall/`, as an axum router.
//!
//! Authentication comes before the method is looked at, as in Django REST framework: so a `GET` without a
//! credential is answered 401, and with one 405.

mod answer;
mod login;
mod logout;
mod refusal;

use std::sync::Arc;

use axum::{
    Router, extract::Request, middleware::map_response, response::IntoResponse, routing::any,
};
use http::Method;

use self::{login::Login, logout::Logout};
use super::knox::KnoxSettings;
use crate::{
    usecase::{authenticated::AuthenticatedKey, authenticator::Authenticator},
    value::owner::OwnerId,
};

pub use refusal::LoginRefusal;

/// knox's three views, each with its trailing slash and without: `login/`, `logout/` and `logoutall/`.
/// Merge them into a router, or nest them below whatever the site has in front of them.
///
/// # Rules
/// 1. `POST login/` answers 200 and `{"expiry":…,"token":…}`, with `"user"` behind it if there is a
///    [serializer](KnoxSettings::user_serializer). The key is the authenticator's to make, so that its
///    [policy](crate::AuthenticatorBuilder::issuing) may refuse with 403.
/// 2. Who logs in is for `check` to say, from the request: the user's id in the store, or a response
///    that refuses, such as a [`LoginRefusal`]. It is asked before the method is looked at. The field
///    `Authorization` that it sees is marked sensitive.
/// 3. `POST logout/` deletes the key that asked for it, `POST logoutall/` every key that logs its user
///    in; both answer 204. Neither key is admitted by this authenticator from then on, and elsewhere as
///    soon as a change is heard of.
/// 4. Anything but `POST` is 405 to those who get so far, and `OPTIONS` an empty answer.
///
/// # Order of layers
/// They stand beside a service's own layer, not behind it: whoever logs in has no token yet.
///
/// # Caveat
/// A login does not touch the user's row, `last_login` included, and sends no signals of Django's. Passwords
/// are Django's to check, and so is how often somebody may try: put a limit on rates outside. A `check` that
/// goes by cookies has to see to forged requests itself.
///
/// # Example
/// ```
/// use axum::{Router, body::Body, extract::Request};
/// use http::{StatusCode, header::AUTHORIZATION};
/// use tower::ServiceExt as _;
/// use tower_token_auth::{
///     Authenticator, Issuing, MemoryStore, knox::{self, KnoxSettings, LoginRefusal},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = Authenticator::builder(MemoryStore::new()).issuing(Issuing::AnyActiveOwner);
/// let (auth, _guard) = builder.build()?;
/// let views = knox::routes(&auth, KnoxSettings::default(), async |request: Request| {
///     match request.headers().get(AUTHORIZATION) {
///         // base64 of `ada:secret`
///         Some(value) if value == "Basic YWRhOnNlY3JldA==" => Ok("ada"),
///         _ => Err(LoginRefusal::basic()),
///     }
/// });
/// let app: Router = Router::new().nest("/api/auth", views);
///
/// let login = |password: &str| {
///     let request = Request::post("/api/auth/login/").header("authorization", password);
///     app.clone().oneshot(request.body(Body::empty()).unwrap())
/// };
/// assert_eq!(login("Basic YWRhOnNlY3JldA==").await?.status(), StatusCode::OK);
/// let refused = login("Basic YWRhOmd1ZXNz").await?;
/// assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
/// assert_eq!(refused.headers()["www-authenticate"], r#"Basic realm="api""#);
/// # Ok(())
/// # }
/// ```
pub fn routes<S, C, F, O, R>(auth: &Authenticator, settings: KnoxSettings, check: C) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    C: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Result<O, R>> + Send + 'static,
    O: Into<OwnerId> + Send + 'static,
    R: IntoResponse + Send + 'static,
{
    let layer = settings.layer(auth.clone());
    let login = Arc::new(Login { keys: auth.keys(), settings, check });
    let login = any(move |request: Request| {
        let login = Arc::clone(&login);
        async move { login.answer(request).await }
    });
    let logout = |logout: Logout| {
        let auth = auth.clone();
        let view = any(move |method: Method, key: AuthenticatedKey| {
            let auth = auth.clone();
            async move { logout.answer(&auth, &method, &key).await }
        });
        view.layer(layer.clone())
    };
    let views = [
        ("login", login),
        ("logout", logout(Logout::Here)),
        ("logoutall", logout(Logout::Everywhere)),
    ];
    let router = views.into_iter().fold(Router::new(), |router, (name, view)| {
        router.route(&format!("/{name}/"), view.clone()).route(&format!("/{name}"), view)
    });
    router.route_layer(map_response(answer::allowing_post))
}
