//! What a fleet asks of a server beside serving: to take requests that were begun elsewhere, to hand
//! prompts on, and to fail.

use crate::simulate::request::Request;
use crate::simulate::server::Server;

/// A request that comes to a server.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The request; its arrival is that at the fleet.
    pub request: Request,
    /// When it comes here, s.
    pub now_s: f64,
    /// When it got its first token elsewhere, s; NaN: it has none.
    pub first_s: f64,
    /// What that took on the way to the user, s.
    pub late_s: f64,
    /// Prompt tokens whose cache came with it.
    pub read: u32,
}

impl Entry {
    /// A request that comes for the first time.
    pub fn new(request: Request) -> Self {
        Self {
            request,
            now_s: request.arrived_s,
            first_s: f64::NAN,
            late_s: 0.0,
            read: 0,
        }
    }
}

/// What a server holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Occupancy {
    /// Requests waiting.
    pub waiting: u64,
    /// Requests being served.
    pub running: u64,
    /// Share of the cache that those take.
    pub cache_share: f64,
}

/// A server in a fleet.
pub trait Station: Server {
    /// Takes a request; `false` when it is turned away.
    fn enter(&mut self, entry: Entry) -> bool;

    /// Requests whose prompts were read here in the last step, and that go on elsewhere, come out.
    fn handed(&mut self, out: &mut Vec<Request>);

    /// Fails: all it had comes out, and it is empty.
    fn halt(&mut self, out: &mut Vec<Entry>);

    /// What it holds.
    fn occupancy(&self) -> Occupancy;
}
