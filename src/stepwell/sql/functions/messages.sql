-- MESSAGES: queues of pgmq, ours or the extension's, as queue workers use them. A reader has a message while its read_ct is
-- what it read: the next reader counts it up. Locks: messages by id, then dead letters.

-- Make a queue unless it is there. `channel` is where its inserts are announced; null: this pgmq announces none.
create or replace function pgflow.ensure_queue(queue text) returns table (created boolean, channel text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  relation constant text := pgmq.format_table_name(ensure_queue.queue, 'q');
begin
  perform pg_advisory_xact_lock(hashtext('stepwell.ensure_queue'), hashtext(relation));
  perform pgflow.check_no_flow(ensure_queue.queue, relation);
  created := to_regclass(format('pgmq.%I', relation)) is null;
  if created then
    perform pgmq.create(ensure_queue.queue);
  end if;
  if to_regprocedure('pgmq.enable_notify_insert(text, integer)') is not null then
    -- ours counts who wants to hear; the extension would make its trigger anew, and wait for all who send
    if pgflow.owns_pgmq() or not exists (
      select from pg_trigger t where t.tgrelid = to_regclass(format('pgmq.%I', relation)) and t.tgname like '%notify%')
    then
      perform pgmq.enable_notify_insert(ensure_queue.queue, 250);
    end if;
    channel := format('pgmq.%s.INSERT', pgmq.format_table_name(ensure_queue.queue, 'q'));
  end if;
  return next;
end
$$;

-- All or none, each visible after `delay` seconds; answers with their ids in the order given.
create or replace function pgflow.send_messages(
  queue text, messages jsonb[], headers jsonb[] default null, delay float8 default 0
) returns bigint[]
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  visible_at constant timestamptz := pgflow.now() + make_interval(secs => delay);
begin
  if headers is null then
    return array(select * from pgmq.send_batch(send_messages.queue, messages, visible_at));
  end if;
  return array(select * from pgmq.send_batch(send_messages.queue, messages, headers, visible_at));
exception when undefined_table then
  perform pgflow.no_queue(send_messages.queue);
end
$$;

-- What is visible, hidden from everybody else for `vt` seconds; nothing of a queue that is paused. The name of an empty queue
-- may have become a flow's since it was made.
create or replace function pgflow.read_messages(queue text, vt int, qty int)
returns table (msg_id bigint, read_ct int, enqueued_at timestamptz, visible_at timestamptz, message text, headers text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  if exists (select from pgflow.pauses p where p.kind = 'queue' and p.name = read_messages.queue) then
    return;
  end if;
  perform pgflow.check_no_flow(read_messages.queue, pgmq.format_table_name(read_messages.queue, 'q'));
  return query select m.msg_id, m.read_ct, m.enqueued_at, m.vt, m.message::text, m.headers::text
  from pgmq.read(read_messages.queue, read_messages.vt, read_messages.qty) m order by m.msg_id;
end
$$;

-- Hide messages from others for `vt` seconds from now, if they are still the reader's: it was the last to read them, and
-- nobody gave them a time of their own, sooner than it knows or later than now asked for. Answers with those. One that somebody
-- has locked is left as it is, with the time that it has: others wait for theirs, and whoever locked it decides what it becomes.
create or replace function pgflow.extend_messages(
  queue text, msg_ids bigint[], read_cts int[], vts timestamptz[], vt int
) returns table (msg_id bigint, visible_at timestamptz)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  latest constant timestamptz := pgflow.now() + make_interval(secs => extend_messages.vt);
  ours constant bigint[] := pgflow.lock_messages(extend_messages.queue, msg_ids, read_cts, vts, latest);
begin
  return query select m.msg_id, m.vt
  from unnest(ours) o (id), lateral pgmq.set_vt(extend_messages.queue, o.id, extend_messages.vt) m;
  if cardinality(ours) < cardinality(msg_ids) then
    return query execute format($sql$
      select m.msg_id, m.vt from unnest($1, $2, $3) w (id, read_ct, vt)
      join pgmq.%I m on m.msg_id = any (array[w.id]) and m.read_ct = w.read_ct and m.vt between w.vt and $4
      where w.id <> all ($5)
    $sql$, pgmq.format_table_name(extend_messages.queue, 'q')) using msg_ids, read_cts, vts, latest, ours;
  end if;
end
$$;

-- How the handling of messages ended, as parallel arrays: 'archived', 'retry' (visible again after its delay) or 'dead' (a
-- dead letter, and archived). Answers with those that were somebody else's by then, or gone: nothing is done about them.
create or replace function pgflow.close_messages(
  queue text, msg_ids bigint[], read_cts int[], outcomes text[], delays int[],
  error_types text[], error_messages text[], tracebacks text[], worker uuid default null
) returns bigint[]
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  ours constant bigint[] := pgflow.lock_messages(close_messages.queue, msg_ids, read_cts);
begin
  perform count(*)
  from unnest(msg_ids, outcomes, delays) e (msg_id, outcome, delay),
    lateral pgmq.set_vt(close_messages.queue, e.msg_id, e.delay)
  where e.outcome = 'retry' and e.msg_id = any (ours);
  insert into pgflow.dead_letters (
    queue, msg_id, read_ct, enqueued_at, died_at, message, headers, error_type, error_message, traceback, worker_id)
  select close_messages.queue, m.msg_id, m.read_ct, m.enqueued_at, pgflow.now(), m.message, m.headers,
    e.error_type, e.error_message, e.traceback, close_messages.worker
  from unnest(msg_ids, outcomes, error_types, error_messages, tracebacks)
      e (msg_id, outcome, error_type, error_message, traceback),
    lateral pgmq.set_vt(close_messages.queue, e.msg_id, 0) m
  where e.outcome = 'dead' and e.msg_id = any (ours);
  perform pgmq.archive(close_messages.queue, array(
    select e.msg_id from unnest(msg_ids, outcomes) e (msg_id, outcome)
    where e.outcome in ('archived', 'dead') and e.msg_id = any (ours)));
  return array(select w.id from unnest(msg_ids) w (id) where w.id <> all (ours));
end
$$;

-- Those that are still their reader's, locked; with their times, only those that nobody else has locked. The relation is the one
-- of that queue's name.
create or replace function pgflow.lock_messages(
  queue text, msg_ids bigint[], read_cts int[], vts timestamptz[] default null, latest timestamptz default 'infinity'
) returns bigint[]
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  ours bigint[];
begin
  execute format($sql$
    select array(
      select m.msg_id
      from unnest($1, $2, coalesce($3, array_fill('-infinity'::timestamptz, array[cardinality($1)]))) w (id, read_ct, vt)
      join pgmq.%I m on m.msg_id = any (array[w.id]) and m.read_ct = w.read_ct and m.vt between w.vt and $4
      order by m.msg_id for update of m %s)
  $sql$, pgmq.format_table_name(lock_messages.queue, 'q'), case when vts is not null then 'skip locked' end)
  into ours using msg_ids, read_cts, vts, latest;
  return ours;
end
$$;

-- What became of a reading: 'held' by its reader still, 'archived', or 'lost'. It waits for who is just closing the message, so a
-- commit whose answer was lost has happened by then, or never will.
create or replace function pgflow.message_state(queue text, msg_id bigint, read_ct int) returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  archived boolean;
begin
  if cardinality(pgflow.lock_messages(message_state.queue, array[msg_id], array[read_ct])) = 1 then
    return 'held';
  end if;
  execute format('select exists (select from pgmq.%I m where m.msg_id = $1 and m.read_ct = $2)',
    pgmq.format_table_name(message_state.queue, 'a')) into archived using msg_id, read_ct;
  return case when archived then 'archived' else 'lost' end;
end
$$;

-- Queues of messages, as list_queues tells of queues: `running` counts those in hand or between two tries. What the role may
-- not read is left out.
create or replace function pgflow.message_queues(most int default 10000)
returns table (queue text, ready int, oldest_at timestamptz, running int)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  at constant timestamptz := pgflow.now();
  q record;
begin
  if has_schema_privilege(to_regnamespace('pgmq')::oid, 'usage') is not true then
    return;
  elsif to_regprocedure('pgmq.list_queues()') is null then
    return;
  end if;
  for q in
    select l.queue_name as name, c.relname as relation
    from pgmq.list_queues() l
    join pg_class c on c.oid = to_regclass(format('pgmq.%I', pgmq.format_table_name(l.queue_name::text, 'q')))
    where c.relkind <> 'v' and has_table_privilege(c.oid, 'select')
  loop
    return query execute format($sql$
      select $1, r.ready, r.oldest_at, h.held
      from (select count(*)::int, min(v.vt) from (
        select m.vt from pgmq.%1$I m where m.vt <= $2 order by m.vt limit $3) v) r (ready, oldest_at),
      (select count(*)::int from (
        select from pgmq.%1$I m where m.vt > $2 and m.read_ct > 0 limit $3) w) h (held)
    $sql$, q.relation) using q.name::text, at, most;
  end loop;
end
$$;

-- When the next message of these queues that is hidden now is visible again.
create or replace function pgflow.next_message_at(queues text[]) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  at constant timestamptz := pgflow.now();
  soonest timestamptz;
  found timestamptz;
  relation text;
begin
  foreach relation in array array(select pgmq.format_table_name(q, 'q') from unnest(queues) q) loop
    if to_regclass(format('pgmq.%I', relation)) is not null then
      execute format('select min(m.vt) from pgmq.%I m where m.vt > $1', relation) into found using at;
      soonest := least(soonest, found);
    end if;
  end loop;
  return soonest;
end
$$;

create or replace function pgflow.no_queue(queue text) returns void
language plpgsql as $$
begin
  perform pgflow.raise('PF404', format('no queue %L in this database', queue),
    'Make it: client.create_queue(), `stepwell queues create`, or select pgmq.create().');
end
$$;

-- The queue of a flow is a view of its tasks.
create or replace function pgflow.check_no_flow(queue text, relation text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from pg_class c where c.oid = to_regclass(format('pgmq.%I', relation)) and c.relkind = 'v') then
    perform pgflow.raise('PF422', format('queue %L is that of a flow: its messages are tasks, which only its steps handle', queue),
      'Give the queue another name.');
  end if;
end
$$;
