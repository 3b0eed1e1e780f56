//! Serves one connection, request by request, and carries out each plan.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::cbor;
use super::http::{self, Connection, Head, HttpError, Persistence, Route};
use super::judge::{Act, Plan, judge};
use super::protocol::{self, Format, Put};
use super::reply::Refusal;
use super::shards::{self, LIST_SHARDS};
use super::state::{InFlight, Shared};

/// Serves a connection until one side closes it.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = Connection::new(stream);
    // One buffer for all requests: allocating one of this size costs a thousand page faults.
    let mut body = Vec::new();
    loop {
        let served = match connection.read_head().await {
            Ok(Some(head)) => exchange(&mut connection, &head, &mut body, &shared).await,
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let (status, violation) = match served {
            Ok(Persistence::KeepAlive) => continue,
            Ok(Persistence::Close) | Err(HttpError::Gone) => return,
            Err(HttpError::Malformed) => (400, "a request is not HTTP/1"),
            Err(HttpError::TooLarge) => (413, "a request is larger than any service accepts"),
        };
        shared.note_violation(violation.to_owned());
        let answer = http::answer(status, protocol::JSON, None, b"");
        if connection.write_all(&answer).await.is_ok() {
            connection.finish().await;
        }
        return;
    }
}

/// Serves one request.
async fn exchange(
    connection: &mut Connection,
    head: &Head,
    body: &mut Vec<u8>,
    shared: &Arc<Shared>,
) -> Result<Persistence, HttpError> {
    if head.route == Route::Preflight {
        connection.read_body(head, body).await?;
        let answer = http::preflight(&head.asked_headers);
        connection.write_all(&answer).await?;
        return Ok(head.persistence);
    }
    let mut in_flight = InFlight::begin(shared);
    connection.read_body(head, body).await?;

    let plan = if head.target == LIST_SHARDS {
        shards::list(body, shared)
    } else {
        read_and_judge(connection, head, body, shared, &mut in_flight).await?
    };

    let latency = shared.lock().latency;
    match plan.act {
        Act::Answer(answer, after) => {
            wait(connection, latency + plan.delay).await?;
            // End it first, so that a client that has read the response finds the request ended.
            in_flight.end(plan.outcome);
            connection.write_all(&answer).await?;
            if after == Persistence::Close {
                connection.finish().await;
                return Ok(Persistence::Close);
            }
            Ok(head.persistence)
        }
        Act::Hang => {
            connection.gone().await;
            Err(HttpError::Gone)
        }
        Act::Close => {
            wait(connection, plan.delay).await?;
            in_flight.end(plan.outcome);
            Ok(Persistence::Close)
        }
        Act::Reset => {
            wait(connection, plan.delay).await?;
            // If the reset fails, the connection is closed all the same.
            let _ = connection.reset_on_close();
            in_flight.end(plan.outcome);
            Ok(Persistence::Close)
        }
    }
}

/// Judges a put whose body has arrived.
async fn read_and_judge(
    connection: &mut Connection,
    head: &Head,
    body: &[u8],
    shared: &Arc<Shared>,
    in_flight: &mut InFlight,
) -> Result<Plan, HttpError> {
    match read(head, body) {
        Err(refusal) => {
            shared.note_violation(refusal.message.clone());
            Ok(Plan::refuse(&refusal, head.format))
        }
        Ok(put) => {
            in_flight.log(&put, head, body.len());
            let speed = shared.lock().link_speed;
            let link_time = speed.map_or(Duration::ZERO, |speed| time_on_link(body.len(), speed));
            let rest = link_time.saturating_sub(in_flight.started().elapsed());
            wait(connection, rest).await?;
            Ok(judge(&put, head, shared, in_flight))
        }
    }
}

/// Waits, unless the client hangs up first.
async fn wait(connection: &mut Connection, delay: Duration) -> Result<(), HttpError> {
    if delay.is_zero() {
        return Ok(());
    }
    tokio::select! {
        biased;
        () = connection.gone() => Err(HttpError::Gone),
        () = tokio::time::sleep(delay) => Ok(()),
    }
}

fn time_on_link(bytes: usize, bytes_per_second: u64) -> Duration {
    let nanos = bytes as u128 * 1_000_000_000 / u128::from(bytes_per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn read<'a>(head: &Head, body: &'a [u8]) -> Result<Put<'a>, Refusal> {
    match head.route {
        Route::Post if head.format == Format::Cbor => cbor::parse(&head.target, body),
        Route::Post => Put::parse(&head.target, body),
        Route::Preflight | Route::Unknown => {
            Err(Refusal::without_code(404).message("only POST / is supported"))
        }
    }
}
