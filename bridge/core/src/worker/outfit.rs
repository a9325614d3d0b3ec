//! What a worker is given when it starts, and the host's ends of it.

use std::os::fd::OwnedFd;

use rustix::pipe::PipeFlags;

use super::lifeline::Lifeline;
use super::limits::Group;
use super::process::Launch;
use crate::failure::{Code, Error, Result};
use crate::link::Socket;

/// Links, pipes and control groups of one worker. All descriptors are closed on exec; who starts the worker lifts that where it has to.
pub(super) struct Outfit {
    /// The host's ends of the links.
    pub(super) sockets: Vec<Socket>,
    /// What the host reads: standard output, standard error, stacks.
    pub(super) pipes: [OwnedFd; 3],
    /// The control groups of its own, where it has some.
    pub(super) group: Option<Group>,
    /// The worker's ends of the links.
    pub(super) links: Vec<OwnedFd>,
    /// What the worker writes to: standard output, standard error, stacks.
    pub(super) ends: [OwnedFd; 3],
    /// Into which it writes to be in its groups.
    pub(super) entrances: Vec<OwnedFd>,
    /// What ends its process group should this process die, and the worker's end of it.
    pub(super) lifeline: Lifeline,
    pub(super) line: OwnedFd,
}

impl Outfit {
    /// # Errors
    /// `DESCRIPTOR_LIMIT`.
    pub(super) fn make(launch: &Launch) -> Result<Self> {
        let pairs: Vec<(Socket, Socket)> = (0..launch.links).map(|_| Socket::pair()).collect::<Result<_>>()?;
        let (sockets, links): (Vec<Socket>, Vec<Socket>) = pairs.into_iter().unzip();
        step!("system::pipe", errno => Error::system(Code::DescriptorLimit, "cannot make a pipe for a worker", errno));
        let (stdout, stdout_end) = pipe()?;
        let (stderr, stderr_end) = pipe()?;
        let (faults, faults_end) = pipe()?;
        let (lifeline, line) = Lifeline::new().map_err(no_pipe)?;
        let group = Group::make(&launch.limits);
        let entrances = group.as_ref().map(Group::entrances).transpose();
        let entrances = entrances.map_err(|error| Error::system(Code::DescriptorLimit, "cannot open a worker's control group", error))?;
        Ok(Self {
            sockets,
            pipes: [stdout, stderr, faults],
            group,
            links: links.into_iter().map(OwnedFd::from).collect(),
            ends: [stdout_end, stderr_end, faults_end],
            entrances: entrances.unwrap_or_default(),
            lifeline,
            line,
        })
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(no_pipe)
}

fn no_pipe(error: rustix::io::Errno) -> Error {
    Error::system(Code::DescriptorLimit, "cannot make a pipe for a worker", error).with_hint("raise the limit on open files (`ulimit -n`)")
}
