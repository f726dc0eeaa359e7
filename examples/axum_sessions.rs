//! Sessions of a web application in an embedded store: login, a count of visits, sliding expiry, logout.
//!
//! Each write is awaited until it is on disk, and no handler blocks the executor's thread.
//!
//! ```sh
//! cargo run -p kvexamples --example axum_sessions                             # starts it and visits it by itself
//! cargo run -p kvexamples --example axum_sessions -- --serve 127.0.0.1:8000   # for a browser
//! ```
#![forbid(unsafe_code)]

use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use kvcore::{Db, Keyspace, ManualClock, Options, SetOptions};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long a session lives after its last use.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
const LOGIN: &str = r#"<form method="post" action="/login"><input name="user"><button>Log in</button></form>"#;
const LOGOUT: &str = r#"<form method="post" action="/logout"><button>Log out</button></form>"#;

/// The part of the application that knows about sessions: the user of each, and how often it was used. Cheap to clone.
#[derive(Clone)]
struct Sessions(Keyspace);

impl Sessions {
    /// Begins a session and returns its id, which only its user can know.
    async fn begin(&self, user: &str) -> Result<String, Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let id = format!("{:032x}", u128::from_ne_bytes(random));
        let options = SetOptions::new().expires_in(LIFETIME);
        self.0.deferred().set_with(format!("user:{id}"), user, options)?.await?;
        Ok(id)
    }

    /// Counts a visit and prolongs the session; returns the user and the number of visits, or `None` if it has ended.
    async fn visit(&self, id: &str) -> kvcore::Result<Option<(String, i64)>> {
        let keys = [format!("user:{id}"), format!("visits:{id}")];
        // One transaction: a session that expires in between is not prolonged by half.
        let visit = self.0.deferred().transact(&keys, |txn| {
            let Some(user) = txn.get(&keys[0])?.map(|user| String::from_utf8_lossy(&user).into_owned()) else {
                return Ok(None);
            };
            let visits = txn.increment(&keys[1], 1)?;
            for key in &keys {
                txn.expire(key, LIFETIME)?;
            }
            Ok(Some((user, visits)))
        });
        visit?.await
    }

    async fn end(&self, id: &str) -> kvcore::Result<()> {
        let keys = [format!("user:{id}"), format!("visits:{id}")];
        self.0.deferred().transact(&keys, |txn| keys.iter().try_for_each(|key| txn.delete(key).map(drop)))?.await
    }
}

/// What a handler failed with: the log gets the reason, the visitor does not.
struct Failure(Error);

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        eprintln!("a request failed: {}", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here").into_response()
    }
}

fn session_id(headers: &HeaderMap) -> Option<&str> {
    let cookies =
        headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split("; "));
    cookies.filter_map(|cookie| cookie.strip_prefix("session=")).find(|id| id.len() == 32)
}

/// Behind TLS, add `Secure`.
fn cookie(id: &str, lifetime: Duration) -> [(axum::http::HeaderName, String); 1] {
    [(SET_COOKIE, format!("session={id}; HttpOnly; SameSite=Lax; Path=/; Max-Age={}", lifetime.as_secs()))]
}

async fn home(State(sessions): State<Sessions>, headers: HeaderMap) -> Result<Response, Failure> {
    if let Some(id) = session_id(&headers)
        && let Some((user, visits)) = sessions.visit(id).await?
    {
        return Ok((cookie(id, LIFETIME), Html(format!("<p>{user}, visit {visits}</p>{LOGOUT}"))).into_response());
    }
    Ok((StatusCode::UNAUTHORIZED, Html(LOGIN)).into_response())
}

#[derive(serde::Deserialize)]
struct Login {
    user: String,
}

/// A real application checks a password here.
async fn login(State(sessions): State<Sessions>, Form(Login { user }): Form<Login>) -> Result<Response, Failure> {
    if user.is_empty() || user.len() > 32 || !user.chars().all(char::is_alphanumeric) {
        return Ok((StatusCode::BAD_REQUEST, "a name has letters and digits, at most 32").into_response());
    }
    let id = sessions.begin(&user).await?;
    Ok((cookie(&id, LIFETIME), Redirect::to("/")).into_response())
}

async fn logout(State(sessions): State<Sessions>, headers: HeaderMap) -> Result<Response, Failure> {
    if let Some(id) = session_id(&headers) {
        sessions.end(id).await?;
    }
    Ok((cookie("", Duration::ZERO), Redirect::to("/")).into_response())
}

async fn serve(db: Db, listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
    let sessions = Sessions(db.keyspace("sessions")?);
    let app = axum::Router::new().route("/", get(home)).route("/login", post(login)).route("/logout", post(logout));
    axum::serve(listener, app.with_state(sessions)).with_graceful_shutdown(stop).await?;
    Ok(db.close()?)
}

fn main() -> Result<(), Error> {
    let dir = tempfile::tempdir()?;
    // One thread is enough: it never waits for the disk.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (serves, address) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => (false, "127.0.0.1:0"),
        ["--serve"] => (true, "127.0.0.1:8000"),
        ["--serve", address] => (true, address),
        _ => return Err("usage: axum_sessions [--serve [ADDRESS]]".into()),
    };
    let listener = runtime.block_on(TcpListener::bind(address))?;
    if serves {
        println!("Open http://{}/; Ctrl-C ends it, and forgets the sessions.", listener.local_addr()?);
        let interrupted = async { drop(tokio::signal::ctrl_c().await) };
        return runtime.block_on(serve(Db::open(dir.path())?, listener, interrupted));
    }

    // A clock that the program moves, so that nobody waits for a session to expire.
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let db = Options::new().clock(clock.clone()).open(dir.path())?;
    let url = format!("http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = thread::spawn(move || runtime.block_on(serve(db, listener, async { drop(stopped.await) })));
    let id = visits(&url, &clock)?;
    drop(stop);
    server.join().map_err(|_| "the server panicked")??;

    let db = Options::new().clock(clock).open(dir.path())?;
    assert_eq!(db.keyspace("sessions")?.get(format!("user:{id}"))?.as_deref(), Some(b"Ada".as_slice()));
    println!("after a restart Ada is still logged in");
    Ok(())
}

/// Visits the application as browsers do. Returns the id of a session that is still open at the end.
fn visits(url: &str, clock: &ManualClock) -> Result<String, Error> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    let agent = config.timeout_global(Some(Duration::from_secs(5))).build().new_agent();
    let log_in = |user: &str| -> Result<String, Error> {
        let response = agent.post(format!("{url}/login")).send_form([("user", user)])?;
        let cookie = response.headers().get(SET_COOKIE).ok_or("no cookie")?.to_str()?;
        Ok(cookie.split(';').next().unwrap_or_default().to_owned())
    };
    let visit = |cookie: &str| -> Result<String, Error> {
        let mut response = agent.get(url).header(COOKIE, cookie).call()?;
        let page = response.body_mut().read_to_string()?;
        let shown = page.split(['<', '>']).nth(2).filter(|_| response.status() == 200).unwrap_or("not logged in");
        println!("{shown}");
        Ok(shown.to_owned())
    };

    assert_eq!(visit("session=0123456789abcdef0123456789abcdef")?, "not logged in");
    assert_eq!(agent.post(format!("{url}/login")).send_form([("user", "<b>")])?.status(), 400);
    let (ada, brian) = (log_in("Ada")?, log_in("Brian")?);
    assert_eq!(visit(&ada)?, "Ada, visit 1");
    assert_eq!(visit(&brian)?, "Brian, visit 1");
    // Each visit prolongs a session: Ada's lives for longer than 30 minutes, Brian's does not.
    for minutes in [20, 40] {
        clock.advance(20 * 60 * 1000);
        println!("... {minutes} minutes later");
        assert_eq!(visit(&ada)?, format!("Ada, visit {}", minutes / 20 + 1));
    }
    assert_eq!(visit(&brian)?, "not logged in");
    // A logout ends this session, and no other of the same user.
    let other = log_in("Ada")?;
    agent.post(format!("{url}/logout")).header(COOKIE, &ada).send_empty()?;
    assert_eq!(visit(&ada)?, "not logged in");
    assert_eq!(visit(&other)?, "Ada, visit 1");
    Ok(other.trim_start_matches("session=").to_owned())
}
