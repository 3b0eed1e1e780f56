//! The handle of the endpoint; the modules below hold its parts.

mod cbor;
mod exchange;
mod http;
mod judge;
mod limits;
mod protocol;
mod reply;
mod request;
mod server;
mod shards;
mod state;
mod wait;
#[cfg(test)]
mod wire_tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aggregation::{Shard, ShardMap};
use tokio::net::TcpSocket;

pub use self::reply::{CodeIn, RecordMatcher, Refusal, Reply};
pub use self::request::{Outcome, PutRecord, PutRequest, RequestLog, Service};
pub use self::wait::WaitTimeout;

use self::server::Server;
use self::state::{Keep, Shared};
use self::wait::{DEFAULT_WAIT, Deadline};

/// A loopback endpoint of both services, with scripted replies.
///
/// By default it accepts every record for every stream. A request gets the first of these that
/// applies: the response to a broken limit or an unknown stream, the next scripted reply for its
/// stream, the next scripted reply for any stream, the standing rule, [`Reply::Accept`].
///
/// A request is judged, and its records accepted, when its body has arrived;
/// [latency](Self::set_latency) and [`Reply::delayed`] only delay the response.
///
/// Note that an AWS SDK client retries a throttled or failed call itself, up to three attempts by
/// default, and each attempt is a request here.
///
/// Dropping the handle closes every connection and frees the port before returning.
///
/// ```no_run
/// # use amplify_test_endpoint::{FakeAws, Reply};
/// # async fn example() -> Result<(), amplify_test_endpoint::WaitTimeout> {
/// let aws = FakeAws::start();
/// aws.script(Reply::fail_at([1], "InternalFailure"));
/// // … a client of `aws.endpoint_url()` puts three records, and later one again …
/// aws.wait_until(|aws| aws.delivered_count() == 3).await?;
/// assert_eq!(aws.limit_violations(), [""; 0]);
/// # Ok(())
/// # }
/// ```
pub struct FakeAws {
    shared: Arc<Shared>,
    addr: SocketAddr,
    server: Mutex<Option<Server>>,
    // Bound but never listening: reserves the port while the endpoint is stopped. Nothing on
    // Windows: see `server::bind`.
    _reservation: Option<TcpSocket>,
}

impl FakeAws {
    /// Starts an endpoint on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If no socket or thread is available; [`start_on`](Self::start_on) returns the error.
    #[expect(clippy::expect_used, reason = "documented; a test can only fail here")]
    pub fn start() -> Self {
        Self::builder()
            .start()
            .expect("a loopback endpoint can be started")
    }

    /// Starts an endpoint at this address; port 0 means any free port.
    ///
    /// ```
    /// use amplify_test_endpoint::FakeAws;
    ///
    /// let aws = FakeAws::start_on(([127, 0, 0, 1], 0).into())?;
    /// assert_ne!(aws.addr().port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it cannot listen on the address, or no thread is available.
    pub fn start_on(addr: SocketAddr) -> io::Result<Self> {
        Self::builder().start_on(addr)
    }

    /// Returns a builder for an endpoint with non-default settings.
    pub fn builder() -> FakeAwsBuilder {
        FakeAwsBuilder {
            keep: Keep::Payloads,
            latency: Duration::ZERO,
        }
    }

    /// `http://<address>:<port>`, for the client's `endpoint_url`.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The address of the endpoint, also after [`stop`](Self::stop).
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    // ---- up and down

    /// Closes every connection and stops listening, immediately: new connections are refused.
    ///
    /// Everything seen so far stays readable, the script stays, and the port stays reserved for
    /// [`restart`](Self::restart) until the handle is dropped. On Windows, others may take the
    /// port.
    ///
    /// ```
    /// use amplify_test_endpoint::FakeAws;
    ///
    /// let aws = FakeAws::start();
    /// aws.stop();
    /// // … the program under test is offline, and keeps its records …
    /// aws.restart()?;
    /// // … and delivers them.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop(&self) {
        let server = lock(&self.server).take();
        drop(server);
    }

    /// Listens again on the same port after [`stop`](Self::stop); does nothing if already running.
    ///
    /// # Errors
    /// If it cannot listen on the address, or no thread is available.
    pub fn restart(&self) -> io::Result<()> {
        let mut server = lock(&self.server);
        if server.is_none() {
            *server = Some(Server::start(
                server::bind(self.addr)?,
                Arc::clone(&self.shared),
            )?);
        }
        Ok(())
    }

    // ---- what it does

    /// Queues a reply for the next request that has no reply queued by
    /// [`script_for`](Self::script_for).
    pub fn script(&self, reply: Reply) {
        self.shared.lock().script.push_back(reply);
    }

    /// Queues the same reply for the next `times` requests.
    pub fn script_times(&self, times: usize, reply: Reply) {
        let mut state = self.shared.lock();
        state.script.extend(std::iter::repeat_n(reply, times));
    }

    /// Queues a reply for the next request to this stream.
    ///
    /// ```
    /// use amplify_test_endpoint::{FakeAws, Reply};
    ///
    /// let aws = FakeAws::start();
    /// // Three refusals, since an SDK client makes up to three attempts.
    /// aws.script_times(3, Reply::Throttle);
    /// aws.script_for("orders", Reply::fail_all("InternalFailure"));
    /// // … and from then on, as usual.
    /// aws.clear_script();
    /// ```
    pub fn script_for(&self, stream: &str, reply: Reply) {
        let mut state = self.shared.lock();
        let script = state.stream_scripts.entry(stream.to_owned());
        script.or_default().push_back(reply);
    }

    /// Sets the standing rule, which replies whenever no scripted reply is queued. Replaces any
    /// previous rule.
    ///
    /// The rule runs on the endpoint's thread: if it blocks, all requests block.
    ///
    /// ```
    /// use amplify_test_endpoint::{FakeAws, Reply};
    ///
    /// let aws = FakeAws::start();
    /// aws.always(|request| match request.records.len() {
    ///     1 => Reply::Accept,
    ///     _ => Reply::refuse(400, "InvalidArgumentException"),
    /// });
    /// ```
    pub fn always(&self, rule: impl Fn(&PutRequest) -> Reply + Send + Sync + 'static) {
        // Drops the old rule without the lock: values that it owns may take it.
        let replaced = self.shared.lock().rule.replace(Arc::new(rule));
        drop(replaced);
    }

    /// Drops queued replies and the standing rule, so that every request is accepted again.
    pub fn clear_script(&self) {
        let mut state = self.shared.lock();
        let script = mem::take(&mut state.script);
        let stream_scripts = mem::take(&mut state.stream_scripts);
        let rule = state.rule.take();
        // Values owned by replies or the rule may take the lock when dropped.
        drop(state);
        drop((script, stream_scripts, rule));
    }

    /// Makes all streams but these unknown: `ResourceNotFoundException`.
    ///
    /// ```
    /// use amplify_test_endpoint::FakeAws;
    ///
    /// let aws = FakeAws::start();
    /// aws.only_streams(["orders"]);
    /// // … records for `invoices` are refused …
    /// aws.all_streams();
    /// // … and accepted, as if someone had created the stream.
    /// ```
    pub fn only_streams<S: Into<String>>(&self, streams: impl IntoIterator<Item = S>) {
        let streams = streams.into_iter().map(Into::into).collect();
        self.shared.lock().known_streams = Some(streams);
    }

    /// Makes every stream known, as at the start.
    pub fn all_streams(&self) {
        self.shared.lock().known_streams = None;
    }

    /// Gives a stream these open shards, as after resharding. Until then, one shard takes all
    /// records.
    ///
    /// ```
    /// use amplify_test_endpoint::{FakeAws, Reply, Shard};
    ///
    /// let aws = FakeAws::start();
    /// let half = u128::MAX / 2;
    /// aws.set_shards("orders", [Shard::new("a", 0, half), Shard::new("b", half + 1, u128::MAX)]);
    /// // A caller without permission for `ListShards`.
    /// aws.set_list_reply(Reply::refuse(400, "AccessDeniedException"));
    /// assert_eq!(aws.listings(), 0);
    /// ```
    ///
    /// # Panics
    /// If shards overlap.
    #[expect(
        clippy::expect_used,
        reason = "documented; only a wrong test can fail here"
    )]
    pub fn set_shards(&self, stream: &str, shards: impl IntoIterator<Item = Shard>) {
        let shards = ShardMap::new(shards).expect("shards that do not overlap");
        let mut state = self.shared.lock();
        state.shards.of_stream.insert(stream.to_owned(), shards);
    }

    /// Answers `ListShards` with this reply, which must take no records; `None` lists the shards
    /// again.
    pub fn set_list_reply(&self, reply: impl Into<Option<Reply>>) {
        self.shared.lock().shards.reply = reply.into();
    }

    /// Delays every response by this much.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.lock().latency = latency;
    }

    /// Limits the link to this many bytes of each request body per second; `None` lifts the limit.
    ///
    /// If a client hangs up before its request would have crossed the link, nothing was sent: no
    /// reply is used and no record accepted, but the request is logged.
    ///
    /// ```
    /// use amplify_test_endpoint::FakeAws;
    /// use std::time::Duration;
    ///
    /// // A mobile network: 50 kB a second, and slow to answer.
    /// let aws = FakeAws::start();
    /// aws.set_link_speed(Some(50_000));
    /// aws.set_latency(Duration::from_millis(300));
    /// ```
    pub fn set_link_speed(&self, bytes_per_second: Option<u64>) {
        self.shared.lock().link_speed = bytes_per_second;
    }

    // ---- what it saw

    /// The records accepted for this stream, of either service, in order of acceptance.
    ///
    /// Empty if the endpoint only counts.
    ///
    /// ```
    /// use amplify_test_endpoint::FakeAws;
    ///
    /// let aws = FakeAws::start();
    /// // … the program under test sends records …
    /// for record in aws.delivered("orders") {
    ///     println!("{:?}: {:?}", record.partition_key, record.data);
    /// }
    /// for (shard, record) in aws.delivered_by_shard("orders") {
    ///     println!("{shard}: {} bytes", record.data.len());
    /// }
    /// println!("{} records in all streams", aws.delivered_count());
    /// ```
    pub fn delivered(&self, stream: &str) -> Vec<PutRecord> {
        let state = self.shared.lock();
        state
            .deliveries
            .get(stream)
            .map_or_else(Vec::new, |delivery| delivery.records.clone())
    }

    /// Like [`delivered`](Self::delivered), each record with the id of its shard.
    pub fn delivered_by_shard(&self, stream: &str) -> Vec<(String, PutRecord)> {
        let state = self.shared.lock();
        let Some(delivery) = state.deliveries.get(stream) else {
            return Vec::new();
        };
        let shards = delivery.shards.iter().cloned();
        shards.zip(delivery.records.iter().cloned()).collect()
    }

    /// Removes and returns all kept records, by stream; the counts stay.
    ///
    /// Called regularly, this bounds the memory of a long-running endpoint.
    ///
    /// ```
    /// use amplify_test_endpoint::FakeAws;
    ///
    /// let aws = FakeAws::start();
    /// // … every minute of a test that runs for days:
    /// for (stream, records) in aws.take_delivered() {
    ///     println!("{stream}: {} records", records.len());
    /// }
    /// println!("{} records, {} bytes so far", aws.delivered_count(), aws.delivered_bytes());
    /// ```
    pub fn take_delivered(&self) -> BTreeMap<String, Vec<PutRecord>> {
        let mut state = self.shared.lock();
        let taken = state.deliveries.iter_mut().map(|(stream, delivery)| {
            delivery.shards.clear();
            (stream.clone(), mem::take(&mut delivery.records))
        });
        taken.filter(|(_, records)| !records.is_empty()).collect()
    }

    /// The total bytes of all readable request bodies.
    pub fn body_bytes(&self) -> u64 {
        self.shared.lock().body_bytes
    }

    /// How often shards were listed, including refused and unanswered requests.
    pub fn listings(&self) -> usize {
        self.shared.lock().shards.listings
    }

    /// How many records were accepted, including repeated ones.
    pub fn delivered_count(&self) -> usize {
        self.shared.lock().delivered_records
    }

    /// The size of all accepted records: data and, for Kinesis, partition keys.
    pub fn delivered_bytes(&self) -> u64 {
        self.shared.lock().delivered_bytes
    }

    /// How many records were accepted for this stream.
    pub fn delivered_count_of(&self, stream: &str) -> usize {
        let state = self.shared.lock();
        state
            .deliveries
            .get(stream)
            .map_or(0, |delivery| delivery.count)
    }

    /// Every readable request, in order of arrival.
    ///
    /// ```
    /// use amplify_test_endpoint::FakeAws;
    ///
    /// let aws = FakeAws::start();
    /// // … the program under test sends records …
    /// for request in aws.requests() {
    ///     println!("{}: {} of {} accepted", request.stream, request.accepted, request.records);
    /// }
    /// println!("{} requests, {} bytes", aws.request_count(), aws.body_bytes());
    /// assert!(aws.requests_to("orders").iter().all(|request| request.outcome.is_success()));
    /// assert!(aws.request(0).is_none());
    /// ```
    pub fn requests(&self) -> Vec<RequestLog> {
        self.shared.lock().log.clone()
    }

    /// The request at this index of [`requests`](Self::requests).
    pub fn request(&self, index: usize) -> Option<RequestLog> {
        self.shared.lock().log.get(index).cloned()
    }

    /// Every readable request to this stream, in order of arrival.
    pub fn requests_to(&self, stream: &str) -> Vec<RequestLog> {
        let state = self.shared.lock();
        let to_stream = state.log.iter().filter(|request| request.stream == stream);
        to_stream.cloned().collect()
    }

    /// How many readable requests arrived, including those in flight.
    pub fn request_count(&self) -> usize {
        self.shared.lock().log.len()
    }

    /// How many requests are in flight.
    ///
    /// ```
    /// use amplify_test_endpoint::FakeAws;
    ///
    /// let aws = FakeAws::start();
    /// // … the program under test sends records …
    /// assert!(aws.max_in_flight() <= 8, "more requests at a time than allowed");
    /// assert!(aws.max_in_flight_of("orders") <= 1, "records may overtake each other");
    /// println!("{} requests now, over {} connections", aws.in_flight(), aws.connection_count());
    /// ```
    pub fn in_flight(&self) -> usize {
        self.shared.lock().in_flight.now
    }

    /// The highest number of requests ever in flight at the same time.
    pub fn max_in_flight(&self) -> usize {
        self.shared.lock().in_flight.max
    }

    /// The highest number of requests to this stream ever in flight at the same time, counted from
    /// when the body had arrived.
    pub fn max_in_flight_of(&self, stream: &str) -> usize {
        let state = self.shared.lock();
        state
            .stream_in_flight
            .get(stream)
            .map_or(0, |gauge| gauge.max)
    }

    /// How many connections were accepted.
    pub fn connection_count(&self) -> usize {
        self.shared.lock().connections
    }

    /// Describes each request that broke a limit of its service or could not be read; a correct
    /// client causes none.
    pub fn limit_violations(&self) -> Vec<String> {
        self.shared.lock().limit_violations.clone()
    }

    // ---- waiting for it

    /// Waits until the condition holds, for at most 30 s of real time.
    ///
    /// The condition is checked whenever something happens here. The future needs no particular
    /// runtime, and a paused clock does not speed it up.
    ///
    /// ```
    /// # use amplify_test_endpoint::{FakeAws, WaitTimeout};
    /// # async fn example(aws: &FakeAws) -> Result<(), WaitTimeout> {
    /// aws.wait_until(|aws| aws.delivered_count_of("orders") == 3).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`WaitTimeout`], which says what was seen instead.
    ///
    /// # Cancel safety
    /// The future only observes; it may be dropped at any time.
    pub async fn wait_until(&self, condition: impl Fn(&Self) -> bool) -> Result<(), WaitTimeout> {
        self.wait_until_within(DEFAULT_WAIT, condition).await
    }

    /// Like [`wait_until`](Self::wait_until), with a different limit of real time.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use amplify_test_endpoint::{FakeAws, WaitTimeout};
    /// # async fn example(aws: &FakeAws) -> Result<(), WaitTimeout> {
    ///
    /// // Nothing holds the requests up, so they must be here soon.
    /// aws.wait_until_within(Duration::from_secs(2), |aws| aws.request_count() == 3).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`WaitTimeout`], which says what was seen instead.
    ///
    /// # Cancel safety
    /// The future only observes; it may be dropped at any time.
    pub async fn wait_until_within(
        &self,
        limit: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<(), WaitTimeout> {
        let mut changes = self.shared.changes();
        let mut deadline = None;
        loop {
            changes.mark_unchanged();
            if condition(self) {
                return Ok(());
            }
            let deadline = deadline.get_or_insert_with(|| Deadline::after(limit));
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = deadline.passed() => return Err(self.timed_out(limit)),
            }
        }
    }

    /// Like [`wait_until_within`](Self::wait_until_within), but blocks the thread.
    ///
    /// ```
    /// use amplify_test_endpoint::FakeAws;
    /// use std::time::Duration;
    ///
    /// let aws = FakeAws::start();
    /// // … a program in another process sends a record …
    /// let seen = aws.wait_until_blocking(Duration::from_millis(10), |aws| aws.request_count() > 0);
    /// assert!(seen.is_err(), "there is no such program in this example");
    /// ```
    ///
    /// # Errors
    /// [`WaitTimeout`], which says what was seen instead.
    pub fn wait_until_blocking(
        &self,
        limit: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<(), WaitTimeout> {
        match wait::block_until(&self.shared, limit, || condition(self)) {
            true => Ok(()),
            false => Err(self.timed_out(limit)),
        }
    }

    fn timed_out(&self, limit: Duration) -> WaitTimeout {
        WaitTimeout::new(limit, &self.shared.lock())
    }
}

impl fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeAws")
            .field("addr", &self.addr)
            .field("requests", &self.request_count())
            .field("delivered", &self.delivered_count())
            .finish_non_exhaustive()
    }
}

/// Settings for starting a [`FakeAws`].
///
/// ```
/// use amplify_test_endpoint::FakeAws;
/// use std::time::Duration;
///
/// // For a load test: an endpoint as far away as a region, which keeps no payloads.
/// let aws = FakeAws::builder()
///     .count_only()
///     .latency(Duration::from_millis(40))
///     .start()?;
/// println!("send to {}", aws.endpoint_url());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FakeAwsBuilder {
    keep: Keep,
    latency: Duration,
}

impl FakeAwsBuilder {
    /// Counts records and bytes but keeps no payloads.
    ///
    /// Payloads are not even decoded, unless a script or a rule looks at them.
    #[must_use]
    pub fn count_only(mut self) -> Self {
        self.keep = Keep::CountsOnly;
        self
    }

    /// Delays every response by this much.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If no socket or thread is available.
    pub fn start(self) -> io::Result<FakeAws> {
        self.start_on((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts at this address; port 0 means any free port.
    ///
    /// # Errors
    /// If it cannot listen on the address, or no thread is available.
    pub fn start_on(self, addr: SocketAddr) -> io::Result<FakeAws> {
        let socket = server::bind(addr)?;
        let addr = socket.local_addr()?;
        let reservation = if cfg!(windows) {
            None
        } else {
            Some(server::bind(addr)?)
        };
        let shared = Arc::new(Shared::new(self.keep, self.latency));
        let server = Server::start(socket, Arc::clone(&shared))?;
        Ok(FakeAws {
            shared,
            addr,
            server: Mutex::new(Some(server)),
            _reservation: reservation,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
