//! The listener over real sockets: good clients, bad clients, and clients that leave.

mod bodies;
mod drain;
mod harness;
mod hostile;
mod leaving;
mod protocols;
