//! The part of HTTP/1.1 that an SDK client uses, on a bare socket.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::cbor::CBOR;
use super::protocol::Format;

const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 64;
const READ_BYTES: usize = 16 * 1024;

/// No service accepts a body of this size, whatever its records.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// One connection; bytes read ahead stay in its buffer.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

/// The parts of a request's head that the server needs.
pub(super) struct Head {
    pub(super) route: Route,
    pub(super) target: String,
    pub(super) format: Format,
    pub(super) user_agent: String,
    pub(super) amz_user_agent: String,
    pub(super) persistence: Persistence,
    /// The header names that a browser asks about in a preflight.
    pub(super) asked_headers: String,
    length: BodyLength,
    expects_continue: bool,
}

/// The kind of request, by method and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `POST /`.
    Post,
    /// `OPTIONS /`: a browser's preflight.
    Preflight,
    /// Any other method or path.
    Unknown,
}

/// Whether the connection stays open after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    KeepAlive,
    Close,
}

#[derive(Clone, Copy, Debug)]
enum BodyLength {
    Known(usize),
    Chunked,
}

#[derive(Debug)]
pub(super) enum HttpError {
    /// The client hung up during a request, or the socket failed.
    Gone,
    /// The bytes are not HTTP/1.
    Malformed,
    /// The head or the body is larger than any service accepts.
    TooLarge,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// Reads the next request's head; `None` if the client is done.
    pub(super) async fn read_head(&mut self) -> Result<Option<Head>, HttpError> {
        loop {
            if !self.buffer.is_empty()
                && let Some((head, length)) = parse_head(&self.buffer)?
            {
                self.buffer.advance(length);
                return Ok(Some(head));
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(HttpError::TooLarge);
            }
            let before = self.buffer.len();
            match self.fill().await {
                Ok(()) => {}
                Err(HttpError::Gone) if before == 0 => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the whole body into `body`, replacing its content.
    pub(super) async fn read_body(
        &mut self,
        head: &Head,
        body: &mut Vec<u8>,
    ) -> Result<(), HttpError> {
        body.clear();
        if head.expects_continue {
            self.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        match head.length {
            BodyLength::Known(length) => self.read_exactly(length, body).await,
            BodyLength::Chunked => self.read_chunks(body).await,
        }
    }

    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> Result<(), HttpError> {
        self.stream.write_all(bytes).await.map_err(HttpError::from)
    }

    /// Completes once the client has hung up.
    pub(super) async fn gone(&mut self) {
        // Reads no more than this from a client that keeps sending without a response.
        while self.buffer.len() < MAX_HEAD_BYTES {
            if self.fill().await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Makes closing the connection send a reset.
    pub(super) fn reset_on_close(&self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    /// Shuts down the sending side, and waits until the client hangs up too.
    ///
    /// Closing immediately could reset the connection before the client has read the response.
    pub(super) async fn finish(&mut self) {
        if self.stream.shutdown().await.is_ok() {
            while self.fill().await.is_ok() {
                self.buffer.clear();
            }
        }
    }

    async fn fill(&mut self) -> Result<(), HttpError> {
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(HttpError::Gone),
            _ => Ok(()),
        }
    }

    /// Appends the next `length` bytes to `body`, bypassing the buffer once it is empty.
    async fn read_exactly(&mut self, length: usize, body: &mut Vec<u8>) -> Result<(), HttpError> {
        if length > MAX_BODY_BYTES - body.len() {
            return Err(HttpError::TooLarge);
        }
        let end = body.len() + length;
        body.reserve_exact(length);
        let buffered = length.min(self.buffer.len());
        body.extend_from_slice(&self.buffer[..buffered]);
        self.buffer.advance(buffered);
        while body.len() < end {
            let missing = end - body.len();
            if self.stream.read_buf(&mut body.limit(missing)).await? == 0 {
                return Err(HttpError::Gone);
            }
        }
        Ok(())
    }

    async fn read_chunks(&mut self, body: &mut Vec<u8>) -> Result<(), HttpError> {
        loop {
            let size = loop {
                match httparse::parse_chunk_size(&self.buffer) {
                    Ok(httparse::Status::Complete((length, size))) => {
                        self.buffer.advance(length);
                        break usize::try_from(size).map_err(|_| HttpError::TooLarge)?;
                    }
                    Ok(httparse::Status::Partial) => self.fill_within_head_limit().await?,
                    Err(_) => return Err(HttpError::Malformed),
                }
            };
            if size == 0 {
                return self.skip_trailers().await;
            }
            self.read_exactly(size, body).await?;
            if !self.read_line().await?.is_empty() {
                return Err(HttpError::Malformed);
            }
        }
    }

    async fn skip_trailers(&mut self) -> Result<(), HttpError> {
        while !self.read_line().await?.is_empty() {}
        Ok(())
    }

    async fn read_line(&mut self) -> Result<BytesMut, HttpError> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.split_to(end);
                self.buffer.advance(2);
                return Ok(line);
            }
            self.fill_within_head_limit().await?;
        }
    }

    async fn fill_within_head_limit(&mut self) -> Result<(), HttpError> {
        if self.buffer.len() > MAX_HEAD_BYTES {
            return Err(HttpError::TooLarge);
        }
        self.fill().await
    }
}

impl From<io::Error> for HttpError {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// As with the services, a page of any origin may read a response.
const FOR_PAGES: &str = "Access-Control-Allow-Origin: *\r\n\
    Access-Control-Expose-Headers: x-amzn-RequestId,x-amzn-ErrorType\r\n";

/// The response to a preflight: a page may send these headers.
pub(super) fn preflight(headers: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 204 OK\r\n{FOR_PAGES}Access-Control-Allow-Methods: POST\r\n\
         Access-Control-Allow-Headers: {headers}\r\nAccess-Control-Max-Age: 600\r\n\r\n"
    )
    .into_bytes()
}

/// The bytes of a response with a body of this type.
pub(super) fn answer(
    status: u16,
    content_type: &str,
    error_type: Option<&str>,
    body: &[u8],
) -> Vec<u8> {
    let error_type = error_type.map_or_else(String::new, |error_type| {
        format!("x-amzn-ErrorType: {error_type}\r\n")
    });
    let content_type = match body {
        [] => String::new(),
        _ => format!("Content-Type: {content_type}\r\n"),
    };
    let head = format!(
        "HTTP/1.1 {status} {}\r\nx-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\n\
         {FOR_PAGES}{content_type}{error_type}Content-Length: {}\r\n\r\n",
        reason(status),
        body.len(),
    );
    let mut bytes = Vec::with_capacity(head.len() + body.len());
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        100..=199 => "Informational",
        200..=299 => "OK",
        300..=399 => "Redirect",
        400..=499 => "Client Error",
        _ => "Server Error",
    }
}

/// Parses a head at the start of `bytes` and returns its length; `None` if more bytes are needed.
fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(HttpError::Malformed),
    };
    let route = match (request.method, request.path) {
        (Some("POST"), Some("/")) => Route::Post,
        (Some("OPTIONS"), Some("/")) => Route::Preflight,
        _ => Route::Unknown,
    };
    let mut head = Head {
        route,
        target: String::new(),
        format: Format::Json,
        user_agent: String::new(),
        amz_user_agent: String::new(),
        persistence: match request.version {
            Some(1) => Persistence::KeepAlive,
            _ => Persistence::Close,
        },
        asked_headers: String::new(),
        length: BodyLength::Known(0),
        expects_continue: false,
    };
    for header in request.headers.iter() {
        let text = || String::from_utf8_lossy(header.value).into_owned();
        let is = |name| header.name.eq_ignore_ascii_case(name);
        if is("x-amz-target") {
            head.target = text();
        } else if is("content-type") && header.value.eq_ignore_ascii_case(CBOR.as_bytes()) {
            head.format = Format::Cbor;
        } else if is("user-agent") {
            head.user_agent = text();
        } else if is("x-amz-user-agent") {
            head.amz_user_agent = text();
        } else if is("content-length") {
            let length = text().trim().parse().map_err(|_| HttpError::Malformed)?;
            head.length = BodyLength::Known(length);
        } else if is("transfer-encoding") && header.value.eq_ignore_ascii_case(b"chunked") {
            head.length = BodyLength::Chunked;
        } else if is("connection") && header.value.eq_ignore_ascii_case(b"close") {
            head.persistence = Persistence::Close;
        } else if is("access-control-request-headers") {
            head.asked_headers = text();
        } else if is("expect") && header.value.eq_ignore_ascii_case(b"100-continue") {
            head.expects_continue = true;
        }
    }
    Ok(Some((head, length)))
}
