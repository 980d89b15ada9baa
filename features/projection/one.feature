@projection
Feature: One projection node keeps every acknowledged event

  A projection node reads events from a NATS server and folds them into views. Whatever
  happens to it, to its server or to its disk: an event that the server acknowledged is in
  the views once, in its order, and no other is.

  Background:
    Given the application is "projection"

  Rule: Nothing is lost or doubled when a process ends

    @smoke
    Scenario: Events come to the views
      Given a NATS server and 1 projection node
      When I publish 50 events
      Then every node shows every acknowledged event within 20 seconds
      And the views are those of a clean replay

    Scenario: The node is restarted and killed under load
      Given a NATS server and 1 projection node
      And I keep publishing events
      And 50 more events are acknowledged within 20 seconds
      When I restart NODE_1
      And 50 more events are acknowledged within 20 seconds
      And I kill NODE_1
      And 50 more events are acknowledged within 20 seconds
      And I start NODE_1
      And 50 more events are acknowledged within 20 seconds
      Then no acknowledged event is lost or doubled
      And the views are those of a clean replay

    Scenario: The server goes away, and the node says so until it is back
      Given a NATS server and 1 projection node
      And I keep publishing events
      And 50 more events are acknowledged within 20 seconds
      When I kill NATS
      Then NODE_1 is not ready within 20 seconds and says "nats:"
      When I start NATS
      Then NODE_1 is ready for events within 20 seconds
      And 50 more events are acknowledged within 20 seconds
      And no acknowledged event is lost or doubled

  Rule: An event that can never be in a view holds up its own key, and nothing else

    Scenario: What breaks the contract is set aside, and later events of its key wait for it
      Given a NATS server and 1 projection node
      And I publish 50 events
      When I publish an event that breaks the contract
      And I publish 3 events of the poisoned key
      And I keep publishing events
      Then the poison event is in quarantine within 20 seconds
      And every node shows every acknowledged event of all other keys within 20 seconds
      When I stop publishing events
      Then the later events of the poisoned key wait behind it within 20 seconds
      And retrying the poisoned key does not get past the poison event
      When I drop the poison event
      And I retry the poisoned key
      Then nothing is in quarantine within 10 seconds
      And every node shows every acknowledged event within 20 seconds

    Scenario: What is no event at all is set aside, and nothing waits for it
      Given a NATS server and 1 projection node
      And I publish 20 events
      When I publish an event that is no JSON
      And I publish 20 events
      Then the poison event is in quarantine within 20 seconds
      And every node shows every acknowledged event within 20 seconds
      When I drop the poison event
      Then nothing is in quarantine within 10 seconds

  Rule: Views are made again while they are served

    Scenario: A new generation is served by itself when it has caught up
      Given a NATS server and 1 projection node
      And I publish 300 events
      And I keep publishing events
      When I rebuild the views
      Then the rebuilt views are served within 30 seconds
      And 50 more events are acknowledged within 20 seconds
      And no acknowledged event is lost or doubled
      And the views are those of a clean replay

    Scenario: A new generation waits for somebody to say that it is served
      Given NODE_1 has user config override "rebuild_cutover" as "command"
      And a NATS server and 1 projection node
      And I publish 300 events
      And I keep publishing events
      When I rebuild the views
      Then the rebuilt views have caught up within 30 seconds
      When I cut over to the rebuilt views
      Then the rebuilt views are served within 10 seconds
      And no acknowledged event is lost or doubled
      And the views are those of a clean replay

  Rule: A full disk loses nothing, and is said

    Scenario: The node goes on by itself when there is room again
      Given NODE_1 has a disk of 24 MiB
      And a NATS server and 1 projection node
      And I keep publishing events of new keys
      And 50 more events are acknowledged within 20 seconds
      And every node shows every acknowledged event within 20 seconds
      When I fill the disk of NODE_1
      Then NODE_1 is not ready within 20 seconds and says "storage:"
      And 50 more events are acknowledged within 20 seconds
      And NODE_1 is behind the stream within 10 seconds
      When I make room on the disk of NODE_1
      Then NODE_1 is ready for events within 20 seconds
      And no acknowledged event is lost or doubled
