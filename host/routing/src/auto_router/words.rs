//! The words by which a text is scored, unless the configuration has its own. Between commas.

/// Of programs.
pub(super) const CODE: &str = "\
function, class, method, variable, code, script, python, javascript, typescript, java, \
rust, golang, kotlin, swift, c++, c#, sql, html, css, bash, regex, api, endpoint, json, \
yaml, compile, compiler, debug, bug, stack trace, exception, refactor, unit test, import, \
async, await, loop, array, algorithm, database, query, git, docker, ```";

/// Of thinking something through.
pub(super) const REASONING: &str = "\
step by step, think through, think carefully, reason about, reasoning, analyze, analyse, \
prove, proof, derive, justify, explain why, trade-off, trade-offs, tradeoffs, \
pros and cons, compare and contrast, evaluate, root cause, let's think, chain of thought, \
hypothesis, work out, what would happen if";

/// Of fields that take knowledge.
pub(super) const TECHNICAL: &str = "\
architecture, distributed, encryption, concurrency, scalability, latency, throughput, \
microservice, microservices, kubernetes, consensus, replication, sharding, transaction, \
deadlock, race condition, protocol, cryptography, authentication, authorization, \
infrastructure, machine learning, neural network, gradient, optimization, complexity, \
theorem, differential equation, linear algebra, eigenvalue, probability distribution, \
load balancer, fault tolerance, observability, compliance, threat model";

/// Of what needs neither.
pub(super) const SIMPLE: &str = "\
what is, what's, who is, when was, where is, define, definition of, meaning of, translate, \
spell, hello, hi, hey, thanks, thank you, good morning, good evening, how are you, yes, no, \
ok, okay";
