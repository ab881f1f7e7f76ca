"""A simulated GitHub: an organisation and its weeks of Actions, its API, its webhooks, and what a perfect observer counts.

`world.build(seed)` makes an organisation, `truth.truth(world, way)` its totals; `deliveries.announcements(world)` are the
events, `faults.shipments(...)` what becomes of them on their way, `sender.Sender` posts and logs them, and
`api.GithubApi(world, log, clock)` is the API, `inside.Inside` a transport to it without a socket.
"""
