-- How much may run at once, and how often. A slot is a row that belongs to a claim; there is no counter of them.

create table pgflow.limits (
  kind text not null,
  name text not null,
  capacity int not null,                     -- slots; of a rate: the burst
  per_second float8,
  constraint limits_pkey primary key (kind, name),
  constraint kind_is_valid check (kind in ('concurrency', 'rate', 'queue', 'flow')),
  constraint capacity_is_positive check (capacity > 0),
  constraint rates_have_a_speed check ((kind = 'rate') = (per_second is not null) and per_second > 0)
);

-- A gate is what a slot is of: 'key/…', 'limit/<name>/<partition>', 'queue/<queue>', 'flow/<slug>'.
create table pgflow.slots (
  gate text not null,
  slot int not null,
  message_id bigint not null,
  claim_token bigint not null,
  worker_id uuid,
  constraint slots_pkey primary key (gate, slot)
) with (fillfactor = 50);
create index idx_slots_claim on pgflow.slots (claim_token);
create index idx_slots_worker on pgflow.slots (worker_id);

-- The state of a rate limit's partition, as a point in time.
create table pgflow.buckets (
  key text not null,
  spent_until timestamptz not null,          -- when all that was spent will have been earned
  constraint buckets_pkey primary key (key)
) with (fillfactor = 50);

-- Fair queues: each task of a key costs it 1 / weight of virtual time, and who has had least is next.
create table pgflow.fair_queues (
  queue text not null,
  virtual_time float8 not null default 0,    -- where the queue is: a key that was idle starts here
  constraint fair_queues_pkey primary key (queue)
) with (fillfactor = 50);

create table pgflow.shares (
  queue text not null,
  fairness_key text not null,
  served float8 not null,                    -- where the key is
  constraint shares_pkey primary key (queue, fairness_key)
) with (fillfactor = 50);

-- Queues and flows that nobody may claim of for now.
create table pgflow.pauses (
  kind text not null,
  name text not null,
  paused_at timestamptz not null,
  reason text,
  constraint pauses_pkey primary key (kind, name),
  constraint kind_is_valid check (kind in ('queue', 'flow'))
);
