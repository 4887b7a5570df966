-- DEAD LETTERS: messages that no try could deal with (close_messages puts them there). Locks: dead letters by id, with skip
-- locked, then what sending locks.

-- Newest first; of one queue or of all. `before`, the id of the last one, continues a list.
create or replace function pgflow.list_dead_letters(queue text default null, before bigint default null, most int default 100)
returns setof pgflow.dead_letters
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
  last constant bigint := coalesce(before, 9223372036854775807);
begin
  if list_dead_letters.queue is null then
    return query select * from pgflow.dead_letters d where d.dead_letter_id < last order by d.dead_letter_id desc limit most;
  else
    return query select * from pgflow.dead_letters d
    where d.queue = list_dead_letters.queue and d.dead_letter_id < last order by d.dead_letter_id desc limit most;
  end if;
end
$$;

-- Send messages again, oldest first, with their headers and as if they were new: those of a queue, or the given ones.
create or replace function pgflow.resend_dead_letters(
  queue text default null, ids bigint[] default null, most int default 1000, actor text default null
) returns table (dead_letter_id bigint, queue_name text, msg_id bigint)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  chosen constant bigint[] := pgflow.chosen_letters(resend_dead_letters.queue, ids, most);
  letter pgflow.dead_letters;
begin
  for letter in
    with gone as (
      delete from pgflow.dead_letters d where d.dead_letter_id = any (chosen) returning d.*
    )
    select * from gone g order by g.dead_letter_id
  loop
    dead_letter_id := letter.dead_letter_id;
    queue_name := letter.queue;
    msg_id := (pgflow.send_messages(letter.queue, array[letter.message], array[letter.headers]))[1];
    perform pgflow.write_audit(at, actor, 'resend', 'queue', letter.queue, null,
      jsonb_build_object('dead_letter', letter.dead_letter_id, 'msg_id', msg_id));
    return next;
  end loop;
end
$$;

-- Drop dead letters of a queue, or the given ones; answers with their number. The archive of the queue keeps the messages.
create or replace function pgflow.forget_dead_letters(
  queue text default null, ids bigint[] default null, most int default 1000, actor text default null
) returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  at constant timestamptz := pgflow.now();
  chosen constant bigint[] := pgflow.chosen_letters(forget_dead_letters.queue, ids, most);
  letter record;
  forgotten int := 0;
begin
  for letter in
    delete from pgflow.dead_letters d where d.dead_letter_id = any (chosen) returning d.dead_letter_id, d.queue
  loop
    perform pgflow.write_audit(at, actor, 'forget', 'queue', letter.queue, null,
      jsonb_build_object('dead_letter', letter.dead_letter_id));
    forgotten := forgotten + 1;
  end loop;
  return forgotten;
end
$$;

-- The oldest that are meant, locked; what somebody else has in hand is left to them.
create or replace function pgflow.chosen_letters(queue text, ids bigint[], most int) returns bigint[]
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
begin
  if queue is null and ids is null then
    perform pgflow.raise('PF422', 'no dead letters are named', 'Say which queue, or which ids.');
  elsif ids is not null then
    return array(
      select d.dead_letter_id from pgflow.dead_letters d
      where d.dead_letter_id = any (ids) and (chosen_letters.queue is null or d.queue = chosen_letters.queue)
      order by d.dead_letter_id limit most for update skip locked);
  end if;
  return array(
    select d.dead_letter_id from pgflow.dead_letters d where d.queue = chosen_letters.queue
    order by d.dead_letter_id limit most for update skip locked);
end
$$;
