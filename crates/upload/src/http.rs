//! The tus protocol 1.0.0 with its extensions creation, checksum, expiration and termination, and a
//! `GET` that says what became of an upload.

use crate::area::{Area, Refused, Wish};
use crate::credential::{Credential, Secret};
use crate::header::{ALGORITHMS, Checksum, Metadata};
use crate::held::{Held, Id, State, Writer};
use crate::name::FileName;
use crate::problem::Problem;
use aws_lc_rs::digest::Context;
use axum::body::Body;
use axum::extract::{Path, Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,expiration,checksum,termination";
const CHUNK: &str = "application/offset+octet-stream";

/// How much clients may do, whatever their credentials allow.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many bytes a file may have.
    pub file_bytes_max: u64,
    /// How long an unfinished upload may lie without a byte.
    pub idle: SignedDuration,
    /// How long a client may be silent within a chunk.
    pub silence: Duration,
    /// Connections of one address at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes_max: 64 << 30,
            idle: SignedDuration::from_hours(24),
            silence: Duration::from_secs(30),
            connections: 128,
        }
    }
}

/// What every request needs.
pub(crate) struct App {
    pub(crate) area: Area,
    pub(crate) limits: Limits,
    /// Told when an upload is whole.
    pub(crate) whole: Notify,
}

type Answer = Result<Response, Problem>;

/// The routes of an area.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/uploads", any(all))
        .route("/uploads/{id}", any(one))
        .fallback(async || Problem::new(404, "uploads are at `/uploads`"))
        .layer(axum::middleware::map_response(async |mut response: Response| {
            let version = HeaderValue::from_static(VERSION);
            response.headers_mut().insert("tus-resumable", version);
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, no_store);
            response
        }))
        .with_state(app)
}

async fn all(Shared(app): Shared<Arc<App>>, request: Request) -> Answer {
    match method(&request).as_str() {
        "OPTIONS" => Ok(options(&app.limits)),
        "POST" => {
            let credential = enter(&app, request.headers()).await?;
            create(&app, credential, request.headers()).await
        }
        _ => Err(no_method("OPTIONS, POST")),
    }
}

async fn one(Shared(app): Shared<Arc<App>>, Path(id): Path<String>, request: Request) -> Answer {
    let method = method(&request);
    if method == Method::OPTIONS {
        return Ok(options(&app.limits));
    }
    let (parts, body) = request.into_parts();
    let credential = match method {
        Method::GET => admit(&app, &parts.headers).await?,
        _ => enter(&app, &parts.headers).await?,
    };
    let held = find(&app, &credential, &id).await?;
    match method {
        Method::HEAD => blocking(move || offset(&app, &held)).await?,
        Method::PATCH => append(&app, held, &parts.headers, body).await,
        Method::DELETE => blocking(move || end(&app, &held)).await?,
        Method::GET => blocking(move || tell(&app, &held)).await?,
        _ => Err(no_method("OPTIONS, HEAD, PATCH, DELETE, GET")),
    }
}

/// The method, perhaps one that the client's library cannot send itself.
fn method(request: &Request) -> Method {
    let named = request.headers().get("x-http-method-override");
    let named = named.and_then(|named| Method::from_bytes(named.as_bytes()).ok());
    named.unwrap_or_else(|| request.method().clone())
}

fn no_method(allow: &'static str) -> Problem {
    let detail = "the path has other methods; the header `allow` names them";
    Problem::new(405, detail).with(header::ALLOW, allow)
}

fn options(limits: &Limits) -> Response {
    let headers = [
        ("tus-version", VERSION.to_owned()),
        ("tus-extension", EXTENSIONS.to_owned()),
        ("tus-max-size", limits.file_bytes_max.to_string()),
        ("tus-checksum-algorithm", ALGORITHMS.to_owned()),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Lets in who speaks this version of the protocol and has a good credential.
async fn enter(app: &Arc<App>, headers: &HeaderMap) -> Result<Credential, Problem> {
    if headers.get("tus-resumable").is_none_or(|version| version != VERSION) {
        let problem = Problem::new(412, "send `Tus-Resumable: 1.0.0`");
        return Err(problem.with("tus-version".parse().expect("a header's name"), VERSION));
    }
    admit(app, headers).await
}

async fn admit(app: &Arc<App>, headers: &HeaderMap) -> Result<Credential, Problem> {
    let secret = headers.get(header::AUTHORIZATION);
    let secret = secret.and_then(|header| Secret::parse(header.as_bytes()));
    let found = match secret {
        Some(secret) => {
            let app = Arc::clone(app);
            blocking(move || app.area.credentials.admit(&secret, Timestamp::now())).await??
        }
        None => None,
    };
    found.ok_or_else(|| {
        let detail = "send `Authorization: Bearer` with the secret of an upload credential";
        Problem::new(401, detail).with(header::WWW_AUTHENTICATE, "Bearer")
    })
}

async fn find(app: &Arc<App>, credential: &Credential, id: &str) -> Result<Held, Problem> {
    let none = || Problem::new(404, "there is no such upload (any more)");
    let id: Id = id.parse().map_err(|_| none())?;
    let (app, name) = (Arc::clone(app), credential.name.clone());
    blocking(move || app.area.find(&name, &id)).await??.ok_or_else(none)
}

async fn create(app: &Arc<App>, credential: Credential, headers: &HeaderMap) -> Answer {
    let wish = wish(headers)?;
    let most = app.limits.file_bytes_max;
    if wish.length > most {
        return Err(Refused::FileTooLarge(most).into());
    }
    let in_area = Arc::clone(app);
    let create = move || {
        let held = in_area.area.create(&credential, wish, Timestamp::now())?;
        let expires = expires(&held, &in_area.limits)?;
        Ok::<_, Problem>((held.about, expires))
    };
    let (about, expires) = blocking(create).await??;
    tracing::info!(upload = %about.id, credential = %about.credential, "An upload began");
    if about.length == 0 {
        app.whole.notify_one();
    }
    let location = format!("/uploads/{}", about.id);
    let headers = [("location", location), ("upload-expires", expires)];
    Ok((StatusCode::CREATED, headers).into_response())
}

/// What the client wants to upload, with a name that may be one.
fn wish(headers: &HeaderMap) -> Result<Wish, Problem> {
    let length = number(headers, "upload-length")?;
    let metadata = headers.get("upload-metadata").map(HeaderValue::as_bytes).unwrap_or_default();
    let Metadata { filename, sha256 } =
        Metadata::parse(metadata).map_err(|error| Problem::new(400, error.to_string()))?;
    let name = FileName::new(&filename).map_err(|error| Problem::new(400, error.to_string()))?;
    let metadata = String::from_utf8_lossy(metadata).into_owned();
    Ok(Wish { name, length, sha256, metadata })
}

fn offset(app: &App, held: &Held) -> Answer {
    refuse_expired(app, held)?;
    let headers = [
        ("upload-offset", held.offset()?.to_string()),
        ("upload-length", held.about.length.to_string()),
        ("upload-metadata", held.about.metadata.clone()),
        ("upload-expires", expires(held, &app.limits)?),
    ];
    Ok((StatusCode::OK, headers).into_response())
}

async fn append(app: &Arc<App>, held: Held, headers: &HeaderMap, body: Body) -> Answer {
    if headers.get(header::CONTENT_TYPE).is_none_or(|media| media != CHUNK) {
        return Err(Problem::new(415, format!("send `Content-Type: {CHUNK}`")));
    }
    let start = number(headers, "upload-offset")?;
    let checksum = headers.get("upload-checksum").map(|sum| Checksum::parse(sum.as_bytes()));
    let checksum = checksum.transpose().map_err(|error| Problem::new(400, error.to_string()))?;
    let (in_area, verify) = (Arc::clone(app), checksum.is_some());
    let open = move || open(&in_area, &held, (start, verify)).map(|writer| (writer, held));
    let (writer, held) = blocking(open).await??;
    let room = held.about.length - start;
    let sent = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if sent.and_then(|length| length.parse().ok()).is_some_and(|length: u64| length > room) {
        writer.discard().await?;
        return Err(overflow());
    }
    let end = start + receive(writer, body, (room, app.limits.silence), checksum).await?;
    if end == held.about.length {
        app.whole.notify_one();
    }
    let expires = expires(&held, &app.limits)?;
    let headers = [("upload-offset", end.to_string()), ("upload-expires", expires)];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// Makes sure that this chunk is the next one, and of an upload that nobody else writes.
fn open(app: &App, held: &Held, (start, verify): (u64, bool)) -> Result<Writer, Problem> {
    refuse_expired(app, held)?;
    let claim = held.claim()?.ok_or_else(busy)?;
    if !matches!(held.state()?, State::Open(_)) {
        return Err(Problem::new(409, "the upload is whole; `GET` says what became of it"));
    }
    let offset = held.offset()?;
    if offset != start {
        return Err(Problem::new(409, format!("the offset is {offset}; go on from there")));
    }
    Writer::open(held, claim, verify)?.ok_or_else(busy)
}

/// Writes a chunk as it comes. How long it was.
async fn receive(
    mut writer: Writer,
    body: Body,
    (room, silence): (u64, Duration),
    checksum: Option<Checksum>,
) -> Result<u64, Problem> {
    let mut digest = checksum.as_ref().map(|checksum| Context::new(checksum.algorithm));
    let (mut body, mut length) = (body.into_data_stream(), 0);
    loop {
        let bytes = match tokio::time::timeout(silence, body.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(bytes))) => bytes,
            Ok(Some(Err(_))) | Err(_) => {
                writer.stop().await?;
                return Err(Problem::new(
                    408,
                    "the chunk did not arrive whole; ask for the offset",
                ));
            }
        };
        length += bytes.len() as u64;
        if length > room {
            writer.discard().await?;
            return Err(overflow());
        }
        if let Err(error) = writer.write(&bytes).await {
            writer.discard().await?;
            return Err(error.into());
        }
        if let Some(digest) = &mut digest {
            digest.update(&bytes);
        }
    }
    let found = digest.map(Context::finish);
    let wanted = checksum.map(|checksum| checksum.value);
    if found.as_ref().map(AsRef::as_ref) != wanted.as_deref() {
        writer.discard().await?;
        return Err(Problem::new(460, "the chunk was changed on its way; send it again"));
    }
    writer.keep().await?;
    Ok(length)
}

fn end(app: &App, held: &Held) -> Answer {
    if !app.area.remove(held)? {
        return Err(busy());
    }
    tracing::info!(upload = %held.about.id, "An upload was ended by its client");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What became of an upload.
#[derive(Serialize)]
struct Told {
    id: Id,
    offset: u64,
    length: u64,
    #[serde(flatten)]
    state: State,
}

fn tell(app: &App, held: &Held) -> Answer {
    refuse_expired(app, held)?;
    let (offset, state) = (held.offset()?, held.state()?);
    let (id, length) = (held.about.id.clone(), held.about.length);
    Ok(Json(Told { id, offset, length, state }).into_response())
}

fn refuse_expired(app: &App, held: &Held) -> Result<(), Problem> {
    let unfinished = held.outcome()?.is_none() && held.offset()? < held.about.length;
    if unfinished && held.expires(app.limits.idle)? <= Timestamp::now() {
        return Err(Problem::new(410, "nothing came for too long; begin the upload again"));
    }
    Ok(())
}

/// The instant in the form of HTTP.
fn expires(held: &Held, limits: &Limits) -> Result<String, Problem> {
    Ok(held.expires(limits.idle)?.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<u64, Problem> {
    let text = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| Problem::new(400, format!("`{name}` must be a number of bytes")))
}

fn overflow() -> Problem {
    Problem::new(413, "the chunk is longer than what is left of the upload")
}

fn busy() -> Problem {
    Problem::new(423, "another request is at this upload; try again later")
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match &refused {
            Refused::Name => 403,
            Refused::FileTooLarge(_) | Refused::UsedUp { .. } => 413,
            Refused::TooManyOpen(_) | Refused::TooMany => 429,
            Refused::Io(_) => 500,
        };
        match refused {
            Refused::Io(error) => error.into(),
            refused => Self::new(status, refused.to_string()),
        }
    }
}

/// Does what may wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::new(500, "this node failed; its log says why"))
}
