-- READ: what is visible, hidden from everybody else for `vt` seconds. What another reader has in hand is left alone.

create or replace function pgmq.read(queue_name text, vt int, qty int, conditional jsonb default '{}')
returns setof pgmq.message_record
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  queue constant pgmq.meta := pgmq.queue_named(read.queue_name);
  at constant timestamptz := pgflow.now();
begin
  if queue.flow_slug is not null then
    return query select * from pgflow.read_tasks(queue.flow_slug, read.vt, qty, conditional);
    return;
  end if;
  return query execute format($sql$
    with visible as materialized (
      select m.msg_id from pgmq.%1$I m
      where m.vt <= $1 and ($4 = '{}' or m.message @> $4)
      order by m.msg_id limit $3 for update skip locked
    ), seen as (
      update pgmq.%1$I m set vt = $1 + make_interval(secs => $2), read_ct = m.read_ct + 1
      from visible v where m.msg_id = v.msg_id
      returning m.msg_id, m.read_ct, m.enqueued_at, m.vt, m.message, m.headers
    )
    select * from seen order by msg_id
  $sql$, pgmq.format_table_name(read.queue_name, 'q')) using at, read.vt, qty, coalesce(conditional, '{}');
end
$$;

-- The same, and while there is nothing, again and again until the time is over. Time passes here as it does for who waits,
-- whatever pgflow.now() says.
create or replace function pgmq.read_with_poll(
  queue_name text, vt int, qty int, max_poll_seconds int default 5, poll_interval_ms int default 100,
  conditional jsonb default '{}'
) returns setof pgmq.message_record
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  deadline constant timestamptz := clock_timestamp() + make_interval(secs => max_poll_seconds);
begin
  while clock_timestamp() < deadline loop
    return query select * from pgmq.read(
      read_with_poll.queue_name, read_with_poll.vt, qty, read_with_poll.conditional);
    exit when found;
    perform pg_sleep(least(poll_interval_ms / 1000.0, extract(epoch from deadline - clock_timestamp())));
  end loop;
end
$$;

-- Read and delete at once: who takes it must not fail.
create or replace function pgmq.pop(queue_name text) returns setof pgmq.message_record
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  queue constant pgmq.meta := pgmq.plain_queue(pop.queue_name, 'pop from',
    'Read it, and claim what was read: pgmq.read(), then pgflow.start_tasks().');
begin
  return query execute format($sql$
    with next as materialized (
      select m.msg_id from pgmq.%1$I m where m.vt <= $1 order by m.msg_id limit 1 for update skip locked
    )
    delete from pgmq.%1$I m using next n where m.msg_id = n.msg_id
    returning m.msg_id, m.read_ct, m.enqueued_at, m.vt, m.message, m.headers
  $sql$, pgmq.format_table_name(pop.queue_name, 'q')) using pgflow.now();
end
$$;

-- Visible in so many seconds from now, however long it was hidden before.
create or replace function pgmq.set_vt(queue_name text, msg_id bigint, vt int) returns setof pgmq.message_record
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  queue constant pgmq.meta := pgmq.queue_named(set_vt.queue_name);
  visible_at constant timestamptz := pgmq.after(set_vt.vt);
begin
  if queue.flow_slug is not null then
    return query select * from pgflow.hide_tasks(queue.flow_slug, array[set_vt.msg_id], array[visible_at]);
    return;
  end if;
  return query execute format($sql$
    update pgmq.%I m set vt = $2 where m.msg_id = $1
    returning m.msg_id, m.read_ct, m.enqueued_at, m.vt, m.message, m.headers
  $sql$, pgmq.format_table_name(set_vt.queue_name, 'q')) using set_vt.msg_id, visible_at;
end
$$;
