//! An HTTP client for the SDK that uses the page's `fetch`.
//!
//! The SDK's futures are `Send`, but the JavaScript values behind `fetch` are not. So each request
//! runs as a task in the page, which replies through channels. When the SDK or the engine drops a
//! request that takes too long, the task sees its channel closed and aborts the request.
//!
//! A browser does not say why a request failed: being offline, an unknown host, and a response that
//! CORS hides from the page all look the same. All count as a broken connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures_util::stream::poll_fn;
use http_body::Frame;
use http_body_util::StreamBody;
use js_sys::{Array, Promise, Reflect, Uint8Array};
use tokio::sync::{mpsc, oneshot};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Headers, ReadableStreamDefaultReader, Request, RequestCache,
    RequestCredentials, RequestInit, RequestMode, RequestRedirect, Response,
};

use super::js::{self, Thrown};
use crate::lifecycle::runtime::{is_page_hidden, spawn_in_page, timeout};

/// Total body bytes of keepalive requests, which a browser finishes even after the page is gone.
/// Browsers refuse more.
const MOST_KEPT_ALIVE: usize = 64 * 1024;

/// Bytes of `MOST_KEPT_ALIVE` in use.
static KEPT_ALIVE: AtomicUsize = AtomicUsize::new(0);

/// An HTTP client for the SDK that uses `fetch`.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FetchClient;

impl FetchClient {
    /// A client that uses the page's `fetch`.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl HttpClient for FetchClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Fetch {
            read_timeout: settings.read_timeout(),
        })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("fetch", None))
    }
}

/// There is no connect timeout: a page cannot tell when a connection is established.
#[derive(Debug)]
struct Fetch {
    read_timeout: Option<Duration>,
}

type Answer = Result<HttpResponse, ConnectorError>;
type Chunk = Result<Frame<Bytes>, BoxError>;

impl HttpConnector for Fetch {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answer, answered) = oneshot::channel();
        spawn_in_page(exchange(request, answer));
        let limit = self.read_timeout;
        HttpConnectorFuture::new(async move {
            let answered = match limit {
                Some(limit) => timeout(limit, answered).await.map_err(|_elapsed| {
                    ConnectorError::timeout("no answer within the read timeout".into())
                })?,
                None => answered.await,
            };
            answered.unwrap_or_else(|_dropped| {
                let dropped = "the page has dropped the request";
                Err(ConnectorError::other(dropped.into(), None))
            })
        })
    }
}

/// Sends a request, then passes on the response and its body.
async fn exchange(request: HttpRequest, mut answer: oneshot::Sender<Answer>) {
    let sent = match Sent::new(&request) {
        Ok(sent) => sent,
        Err(thrown) => {
            let _ = answer.send(Err(ConnectorError::user(thrown.into())));
            return;
        }
    };
    let response = tokio::select! {
        biased;
        () = answer.closed() => return,
        response = sent.response() => response,
    };
    let response = match response {
        Ok(response) => response,
        Err(thrown) => {
            let _ = answer.send(Err(ConnectorError::io(thrown.into())));
            return;
        }
    };
    let (chunks, mut body) = mpsc::channel::<Chunk>(1);
    let body = poll_fn(move |context| body.poll_recv(context));
    let body = SdkBody::from_body_1_x(StreamBody::new(body));
    let head = head(&response, body);
    let head = head.map_err(|error| ConnectorError::other(error, None));
    if answer.send(head).is_ok() {
        pass_on(&response, &chunks).await;
    }
}

/// A request in progress. Dropping it aborts the request unless it has ended.
struct Sent {
    controller: AbortController,
    response: Promise,
    kept_alive: usize,
}

impl Sent {
    fn new(request: &HttpRequest) -> Result<Self, Thrown> {
        let controller = AbortController::new()?;
        let body = request.body().bytes().unwrap_or_default();
        let options = RequestInit::new();
        options.set_method(request.method());
        options.set_mode(RequestMode::Cors);
        options.set_credentials(RequestCredentials::Omit);
        options.set_cache(RequestCache::NoStore);
        // A signature is only valid for one host.
        options.set_redirect(RequestRedirect::Manual);
        options.set_signal(Some(&controller.signal()));
        options.set_headers_headers(&headers(request)?);
        if !body.is_empty() {
            options.set_body_opt_u8_array(Some(&Uint8Array::from(body)));
        }
        let kept_alive = keep_alive(body.len());
        if kept_alive > 0 {
            Reflect::set(&options, &"keepalive".into(), &true.into())?;
        }
        let mut sent = Self {
            controller,
            response: Promise::resolve(&JsValue::UNDEFINED),
            kept_alive,
        };
        let request = Request::new_with_str_and_init(request.uri(), &options)?;
        let fetch = js::global("fetch")?;
        sent.response = fetch.call1(&JsValue::UNDEFINED, &request)?.unchecked_into();
        Ok(sent)
    }

    async fn response(&self) -> Result<Response, Thrown> {
        let response = JsFuture::from(self.response.clone()).await?;
        Ok(response.unchecked_into())
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.controller.abort();
        KEPT_ALIVE.fetch_sub(self.kept_alive, Ordering::Relaxed);
    }
}

/// Reserves keepalive room for a body, if the page is hidden and there is enough. Returns the
/// number of bytes reserved.
fn keep_alive(bytes: usize) -> usize {
    let in_use = KEPT_ALIVE.load(Ordering::Relaxed);
    if !is_page_hidden() || in_use + bytes > MOST_KEPT_ALIVE {
        return 0;
    }
    KEPT_ALIVE.fetch_add(bytes, Ordering::Relaxed);
    bytes
}

fn headers(request: &HttpRequest) -> Result<Headers, Thrown> {
    /// Headers that the browser sets itself. Some browsers accept them from the page but then send
    /// a preflight, which the service may refuse.
    const OF_THE_BROWSER: [&str; 3] = ["user-agent", "host", "content-length"];
    let headers = Headers::new()?;
    for (name, value) in request.headers() {
        if !OF_THE_BROWSER.contains(&name) {
            headers.append(name, value)?;
        }
    }
    Ok(headers)
}

fn head(response: &Response, body: SdkBody) -> Result<HttpResponse, BoxError> {
    // An unfollowed redirect has status 0.
    let mut head = HttpResponse::new(StatusCode::try_from(response.status())?, body);
    for entry in response.headers().entries().into_iter().flatten() {
        let entry: Array = entry.unchecked_into();
        if let (Some(name), Some(value)) = (entry.get(0).as_string(), entry.get(1).as_string()) {
            head.headers_mut().try_append(name, value)?;
        }
    }
    Ok(head)
}

/// Passes a body on in chunks, until the receiver is dropped.
async fn pass_on(response: &Response, chunks: &mpsc::Sender<Chunk>) {
    let Some(stream) = response.body() else {
        return;
    };
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    loop {
        let read = tokio::select! {
            biased;
            () = chunks.closed() => return,
            read = JsFuture::from(reader.read()) => read,
        };
        let chunk = match read.map(|read| Reflect::get(&read, &"value".into())) {
            Ok(Ok(value)) if value.is_undefined() => return,
            Ok(Ok(value)) => {
                let bytes = value.unchecked_into::<Uint8Array>().to_vec();
                Ok(Frame::data(Bytes::from(bytes)))
            }
            Ok(Err(thrown)) | Err(thrown) => Err(Thrown::from(thrown).into()),
        };
        let is_last = chunk.is_err();
        if chunks.send(chunk).await.is_err() || is_last {
            return;
        }
    }
}
