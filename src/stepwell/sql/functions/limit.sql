-- LIMIT: how much may run at once, and how often. Asked at the claim, where the truth is.
--
-- A slot is a row of a gate that belongs to a claim. A task whose gate is full is `blocked` on it; what frees a slot
-- makes the next in line ready. No wake-up is lost: to block a task, a claim must hold (for share) as many taken slots as the
-- gate has, so whoever frees one of them waits for the claim, and then sees the blocked task. Whom it finds locked it owes
-- the wake-up (owed_wakes).
-- Locks, after runs and tasks: slots by gate, then buckets by key. What blocks a task skips locked slots.

-- Of these locked tasks, up to `most` that their limits let run, with the tokens of their claims, which have the slots.
-- `moved`: how many went out of the way (blocked or delayed); `contended`: some were neither, for the moment.
-- `held`: the rates whose buckets this transaction has locked; null: no slot and no bucket yet. Who has one waits for no other,
-- so that nobody waits in a circle: of the next tasks of one transaction, those with other limits are left alone.
create or replace function pgflow.admit_tasks(
  worker uuid, picked bigint[], most int, at timestamptz, inout held text[],
  out ids bigint[], out tokens bigint[], out moved int, out contended boolean, out delayed boolean
) language plpgsql as $$
declare
  eligible constant bigint[] := case when held is null then picked else pgflow.limited_by_none_but(held, picked) end;
  drawn constant bigint[] := array(select nextval('pgflow.claim_tokens') from unnest(eligible));
  seated record;
  late bigint[];
  unlucky bigint[];
  rates text[];
begin
  seated := pgflow.seat_tasks(worker, eligible, drawn);
  ids := seated.ids[1:most];
  tokens := seated.tokens[1:most];
  late := pgflow.stand_in_line(ids, at);
  if late <> '{}' and cardinality(seated.ids) > most then    -- who is behind them has no chance either
    late := late || pgflow.stand_in_line(array(
      select t.message_id
      from unnest(seated.ids[most + 1:]) with ordinality i (id, place)
      cross join lateral (select * from pgflow.step_tasks t where t.message_id = i.id offset 0) t
      where not t.promised and t.rate_limit in (
        select l.rate_limit from unnest(late) n
        cross join lateral (select l.rate_limit from pgflow.step_tasks l where l.message_id = n offset 0) l)
      order by i.place), at);
  end if;
  unlucky := seated.refused_tokens || seated.tokens[most + 1:];
  if late <> '{}' then
    unlucky := unlucky || array(select u.token from unnest(ids, tokens) u (id, token) where u.id = any (late));
    select coalesce(array_agg(u.id), '{}'), coalesce(array_agg(u.token), '{}') into ids, tokens
    from unnest(ids, tokens) u (id, token) where u.id <> all (late);
  end if;
  rates := array(
    select t.rate_limit
    from unnest(seated.ids[1:most]) i
    cross join lateral (select * from pgflow.step_tasks t where t.message_id = i offset 0) t
    where t.rate_limit is not null);
  if rates <> '{}' or exists (select from pgflow.slots s where s.claim_token = any (drawn)) then
    held := coalesce(held, '{}') || rates;
  end if;
  if unlucky <> '{}' then
    delete from pgflow.slots s where s.claim_token = any (unlucky);
  end if;
  moved := pgflow.block_tasks(seated.refused, seated.refused_gates);
  if late <> '{}' then                       -- who was woken for a slot that a delayed task leaves alone goes on
    perform pgflow.wake_gates(array(
      select t.concurrency_key
      from unnest(late) n cross join lateral (select * from pgflow.step_tasks t where t.message_id = n offset 0) t
      where t.concurrency_key is not null));
  end if;
  contended := moved < cardinality(array_remove(seated.refused_gates, null)) or cardinality(eligible) < cardinality(picked);
  moved := moved + cardinality(late);
  delayed := late <> '{}';
end
$$;

-- Of these tasks, those without a gate whose rate, if they have one, is one of these.
create or replace function pgflow.limited_by_none_but(rates text[], ids bigint[]) returns bigint[]
language sql stable as $$
  select coalesce(array_agg(t.message_id order by i.place), '{}')
  from unnest(ids) with ordinality i (id, place)
  cross join lateral (select * from pgflow.step_tasks t where t.message_id = i.id offset 0) t
  where t.concurrency_key is null and (t.rate_limit is null or t.rate_limit = any (rates))
    and not exists (
      select from pgflow.limits l where (l.kind = 'queue' and l.name = t.queue) or (l.kind = 'flow' and l.name = t.flow_slug));
$$;

-- Give each task a slot of each of its gates, as far as they go, in the order given. A refused task comes back
-- with the gate of its own that was full (null: a cap of its queue or flow).
create or replace function pgflow.seat_tasks(
  worker uuid, picked bigint[], drawn bigint[],
  out ids bigint[], out tokens bigint[], out refused bigint[], out refused_tokens bigint[], out refused_gates text[]
) language plpgsql set enable_hashjoin = on as $$
begin
  with candidate as (
    select t.message_id, t.concurrency_key, t.queue, t.flow_slug, c.token, c.place
    from unnest(picked, drawn) with ordinality c (id, token, place)
    cross join lateral (select * from pgflow.step_tasks t where t.message_id = c.id offset 0) t
  ), wish as (
    select c.message_id, c.token, c.place, c.concurrency_key as gate, pgflow.capacity_of(c.concurrency_key) as capacity
    from candidate c where c.concurrency_key is not null
    union all
    select c.message_id, c.token, c.place, l.kind || '/' || l.name, l.capacity
    from candidate c join pgflow.limits l
      on (l.kind = 'queue' and l.name = c.queue) or (l.kind = 'flow' and l.name = c.flow_slug)
  ), ranked as (
    select w.*, row_number() over (partition by w.gate order by w.place) as rank from wish w
  ), free as (
    select g.gate, n.slot, row_number() over (partition by g.gate order by n.slot) as rank
    from (select r.gate, max(r.capacity) as capacity, count(*) as wishes from ranked r group by r.gate) g
    cross join lateral (
      select n as slot from generate_series(1, g.capacity) n
      where not exists (select from pgflow.slots s where s.gate = g.gate and s.slot = n)
      -- of a capacity that was lowered, slots above it may still be taken
      limit greatest(least(g.wishes, g.capacity - (select count(*) from pgflow.slots s where s.gate = g.gate)), 0)) n
  ), seated as (
    insert into pgflow.slots (gate, slot, message_id, claim_token, worker_id)
    select r.gate, f.slot, r.message_id, r.token, worker
    from ranked r join free f on f.gate = r.gate and f.rank = r.rank
    order by r.gate, f.slot
    on conflict do nothing
    returning gate, message_id
  ), shortage as (
    select w.message_id, max(w.gate) filter (where w.gate = w.own) as own_gate
    from (
      select w.message_id, w.gate, c.concurrency_key as own from wish w join candidate c on c.message_id = w.message_id
      where not exists (select from seated s where s.message_id = w.message_id and s.gate = w.gate)) w
    group by w.message_id
  ), verdict as (
    select c.message_id, c.token, c.place, s.message_id is not null as short, s.own_gate as full_gate
    from candidate c left join shortage s on s.message_id = c.message_id
  )
  select coalesce(array_agg(v.message_id order by v.place) filter (where not v.short), '{}'),
    coalesce(array_agg(v.token order by v.place) filter (where not v.short), '{}'),
    coalesce(array_agg(v.message_id order by v.place) filter (where v.short), '{}'),
    coalesce(array_agg(v.token order by v.place) filter (where v.short), '{}'),
    coalesce(array_agg(v.full_gate order by v.place) filter (where v.short), '{}')
  into ids, tokens, refused, refused_tokens, refused_gates
  from verdict v;
end
$$;

-- Out of the way with tasks whose gate is full, until somebody wakes them. Where not all slots of a gate can be locked as
-- taken, some are free or change hands right now, and the tasks stay ready.
create or replace function pgflow.block_tasks(refused bigint[], gates text[]) returns int
language plpgsql as $$
declare
  full_gates text[];
  blocked int;
begin
  if array_remove(gates, null) = '{}' then
    return 0;
  end if;
  full_gates := array(
    select s.gate
    from (select s.gate from pgflow.slots s where s.gate = any (gates) for share skip locked) s
    group by s.gate having count(*) >= pgflow.capacity_of(s.gate));
  update pgflow.step_tasks t set stage = 'blocked', blocked_on = u.gate
  from unnest(refused, gates) u (id, gate)
  where t.message_id = any (array[u.id]) and u.gate = any (full_gates) and t.stage || '' in ('ready', 'delayed');
  get diagnostics blocked = row_count;
  return blocked;
end
$$;

-- The bodies of these claims have ended: their slots are free, and who waits for one goes on. Answers with the queues
-- that have something to do now.
create or replace function pgflow.free_slots(tokens bigint[]) returns text[]
language plpgsql as $$
declare
  gates text[];
  queues text[];
begin
  if not exists (select from pgflow.slots s where s.claim_token = any (tokens)) then
    return '{}';
  end if;
  perform from pgflow.slots s where s.claim_token = any (tokens) order by s.gate, s.slot for update;
  with freed as (
    delete from pgflow.slots s where s.claim_token = any (tokens) returning s.gate, s.message_id
  )
  select array_agg(f.gate), array_agg(distinct t.queue) filter (where split_part(f.gate, '/', 1) in ('queue', 'flow'))
  into gates, queues
  from freed f left join lateral (
    select t.queue from pgflow.step_tasks t where t.message_id = f.message_id offset 0) t on true;
  return coalesce(queues, '{}') || pgflow.wake_gates(gates);
end
$$;

-- Of each lane that waits for one of these gates, the first becomes ready, as many as the gate is named. (More lanes than
-- slots: the losers are blocked again. One lane alone might have no worker.) Who waits may be locked: by a person's open
-- transaction, or by a claim that met it just when it was blocked, and keeps that lock although it left the task alone. Then
-- the wake-up is owed, and a later turn pays it.
create or replace function pgflow.wake_gates(gates text[]) returns text[]
language plpgsql as $$
declare
  woken constant record := pgflow.wake_waiting(gates);
begin
  if woken.owed <> '{}' then
    insert into pgflow.owed_wakes (gate, since) select o, pgflow.now() from unnest(woken.owed) o;
  end if;
  return woken.queues;
end
$$;

create or replace function pgflow.wake_waiting(gates text[], out queues text[], out owed text[])
language plpgsql as $$
begin
  with recursive gate as (
    select g as name, count(*) as slots from unnest(gates) g where g like 'key/%' or g like 'limit/%' group by g
  ), lane as (
    select g.name, g.slots, h.queue, h.version_id
    from gate g cross join lateral (
      select t.queue, t.version_id from pgflow.step_tasks t
      where t.stage = 'blocked' and t.blocked_on = g.name
      order by t.blocked_on, t.queue, t.version_id limit 1) h
    union all
    select l.name, l.slots, h.queue, h.version_id
    from lane l cross join lateral (
      select t.queue, t.version_id from pgflow.step_tasks t
      where t.stage = 'blocked' and t.blocked_on = l.name and (t.queue, t.version_id) > (l.queue, l.version_id)
      order by t.blocked_on, t.queue, t.version_id limit 1) h
  ), next as (
    select l.name, h.message_id from lane l cross join lateral (
      select t.message_id from pgflow.step_tasks t
      where t.stage = 'blocked' and t.blocked_on = l.name and t.queue = l.queue and t.version_id = l.version_id
      order by t.blocked_on, t.queue, t.version_id, t.priority, t.ready_at, t.message_id
      limit l.slots for update skip locked) h
  ), woken as (
    update pgflow.step_tasks t set stage = 'ready', blocked_on = null
    from next n where t.message_id = any (array[n.message_id]) and t.stage || '' = 'blocked'
    returning t.queue, t.message_id, n.name
  )
  select coalesce((select array_agg(distinct w.queue) from woken w), '{}'), array(
    select l.name from (select distinct l.name, l.slots from lane l) l
    where (select count(*) from woken w where w.name = l.name) < l.slots and exists (
      select from pgflow.step_tasks t
      where t.stage = 'blocked' and t.blocked_on = l.name
        and t.message_id <> all (array(select w.message_id from woken w where w.name = l.name))))
  into queues, owed;
end
$$;

-- Wake-ups that are owed, a few at a time; what is still locked stays owed. Answers with the queues that have something to do.
create or replace function pgflow.pay_wakes() returns text[]
language plpgsql as $$
declare
  debt record;
  woken record;
begin
  select array_agg(w.ctid) as ids, array_agg(distinct w.gate) as gates into debt
  from (select w.ctid, w.gate from pgflow.owed_wakes w limit 100 for update skip locked) w;
  woken := pgflow.wake_waiting(pgflow.open_gates(debt.gates));
  delete from pgflow.owed_wakes w where w.ctid = any (debt.ids) and w.gate <> all (woken.owed);
  return woken.queues;
end
$$;

-- Each of these gates as often as it has free slots.
create or replace function pgflow.open_gates(gates text[]) returns text[]
language sql stable as $$
  select coalesce(array_agg(g.gate), '{}')
  from (select distinct g as gate from unnest(gates) g where g is not null) g
  cross join lateral generate_series(
    1, pgflow.capacity_of(g.gate) - (select count(*) from pgflow.slots s where s.gate = g.gate));
$$;

-- How many slots a gate has: a bare key one, a named limit as many as it says (one, while nobody says).
create or replace function pgflow.capacity_of(gate text) returns int
language sql stable as $$
  select case when gate like 'limit/%' then coalesce((
    select l.capacity from pgflow.limits l where l.kind = 'concurrency' and l.name = split_part(gate, '/', 2)), 1) else 1 end;
$$;

-- The floor below all wake-ups: gates that have room and somebody who waits. A few gates after `after`, in order; answers
-- with the last one (null: that was the end) and the queues to tell.
create or replace function pgflow.wake_stuck(after text default '', most int default 200)
returns table (last_gate text, queues text[])
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off set enable_seqscan = off as $$
declare
  waited text[];
begin
  with recursive gate as (
    select (select t.blocked_on from pgflow.step_tasks t where t.stage = 'blocked' and t.blocked_on > wake_stuck.after
      order by t.blocked_on limit 1) as name, 1 as n
    union all
    select (select t.blocked_on from pgflow.step_tasks t where t.stage = 'blocked' and t.blocked_on > g.name
      order by t.blocked_on limit 1), g.n + 1
    from gate g where g.name is not null and g.n < most
  )
  select array_agg(g.name order by g.n) into waited from gate g where g.name is not null;
  last_gate := case when cardinality(waited) >= most then waited[cardinality(waited)] end;
  queues := pgflow.wake_gates(pgflow.open_gates(waited));
  return next;
end
$$;
